# The context is GOROOT. The real image has these packages and settings, too; GOPROXY is the stand-in's.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev pkg-config && rm -rf /var/lib/apt/lists/*
COPY . /usr/local/go
ARG GOPROXY
ENV GOPROXY=$GOPROXY GOSUMDB=off GOTOOLCHAIN=local GOPATH=/go PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /go
