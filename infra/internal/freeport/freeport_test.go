package freeport

import (
	"net"
	"strconv"
	"testing"
)

func TestOn_SkipsUsedPorts(t *testing.T) {
	const host = "127.0.0.1"
	port, err := On(host)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	seen := make(map[int]int)
	for range 2*size - 2 {
		another, err := On(host)
		if err != nil {
			t.Fatal(err)
		}
		seen[another]++
	}
	if n := seen[port]; n != 0 {
		t.Errorf("got a port in use %d times, want other ports", n)
	}
	for another, n := range seen {
		if another < begin || another >= begin+size || n > 2 {
			t.Errorf("got port %d %d times, want each port of the block twice", another, n)
		}
	}
}

func TestReserve_BlocksDiffer(t *testing.T) {
	if _, err := On("127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	other, from, err := reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if from == begin {
		t.Errorf("got the block from %d twice, want another", from)
	}
}
