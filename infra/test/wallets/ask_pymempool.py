"""Asks an edge for prices with the package pymempool, unchanged. Usage: python3 pymempool.py EDGE TIME"""
import json
import sys

from pymempool import MempoolAPI

edge, time = sys.argv[1:]
api = MempoolAPI(api_base_url=f"{edge}/api/", rate_limit_per_sec=1000, rate_limit_burst=1000)


def or_error(request, *args):
    try:
        return request(*args)
    except Exception as error:
        return f"error: {error}"


print(json.dumps({
    "prices": or_error(api.get_price),
    "usdAt": or_error(api.get_historical_price, "USD", time),
    "eurAt": or_error(api.get_historical_price, "EUR", time),
    "tooEarly": or_error(api.get_historical_price, "USD", 1),
    "all": or_error(api.get_historical_price),
}))
