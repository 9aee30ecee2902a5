package peers

import (
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	"sightglass/infra/test/internal/btcnet"
	"sightglass/infra/test/internal/programs"
	"sightglass/ingester/peers"
)

// socks is a SOCKS5 server (RFC 1928) that connects to IPv4 addresses, and counts the connections.
func socks(t *testing.T) (addr string, connections *atomic.Int32) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	connections = new(atomic.Int32)
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			go serveSOCKS(client, connections)
		}
	}()
	return ln.Addr().String(), connections
}

func serveSOCKS(client net.Conn, connections *atomic.Int32) {
	defer client.Close()
	hello := make([]byte, 2)
	if _, err := io.ReadFull(client, hello); err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, client, int64(hello[1])); err != nil {
		return
	}
	client.Write([]byte{5, 0})  //nolint:errcheck // the next read fails
	request := make([]byte, 10) // version, connect, 0, IPv4, address, port
	if _, err := io.ReadFull(client, request); err != nil || request[3] != 1 {
		return
	}
	server, err := net.Dial("tcp", net.JoinHostPort(net.IP(request[4:8]).String(), strconv.Itoa(int(binary.BigEndian.Uint16(request[8:])))))
	if err != nil {
		return
	}
	defer server.Close()
	connections.Add(1)
	client.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}) //nolint:errcheck // the copy fails
	go func() {
		defer server.Close()
		io.Copy(server, client) //nolint:errcheck // one of both has ended
	}()
	io.Copy(client, server) //nolint:errcheck // as above
}

// TestNetwork_Proxy: every connection goes through the proxy, and none without it.
func TestNetwork_Proxy(t *testing.T) {
	net := btcnet.Start(t, 4)
	addr, connections := socks(t)
	l := listen(t, net.Addrs(), func(o *peers.Options) { o.PeersProxy = addr })
	programs.Until(t, "all peers", func() bool { return l.Connected() == 4 })
	pays(t, net, l, 5)
	if got := connections.Load(); got < 4 {
		t.Errorf("got %d connections through the proxy, want those of 4 peers", got)
	}
	none := listen(t, net.Addrs(), func(o *peers.Options) { o.PeersProxy = "127.0.0.1:1" })
	programs.Until(t, "attempts through a proxy that is not there", func() bool { return none.value(t, "failures_total", "") >= 4 })
	if got := none.Connected(); got != 0 {
		t.Errorf("got %d peers without the proxy, want none", got)
	}
}
