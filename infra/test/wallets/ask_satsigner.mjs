// Asks an edge for prices with the class MempoolOracle of the wallet SatSigner, unchanged. Usage: node satsigner.mjs EDGE TIME
import { MempoolOracle } from "@/api/blockchain";

const [edge, time] = process.argv.slice(2);
const oracle = new MempoolOracle(`${edge}/api`);
const orError = (promise) => promise.catch((error) => `error: ${error.message.split(" (")[0]}`);

console.log(JSON.stringify({
  prices: await orError(oracle.getPrices()),
  usd: await orError(oracle.getPrice("USD")),
  eur: await orError(oracle.getPrice("EUR")),
  usdAt: await orError(oracle.getPriceAt("USD", Number(time))),
  fullAt: await orError(oracle.getFullPriceAt("USD", Number(time))),
  pricesAt: await orError(oracle.getPricesAt("USD", [Number(time), Number(time) + 3600])),
  fullTooEarly: await orError(oracle.getFullPriceAt("USD", 1)),
}));
