// Package freeport returns ports for programs that tests and measurements start later.
package freeport

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
)

// The ports are below 32768, where Linux takes ports for outgoing connections and for port 0: such a port may be taken by
// any connection before the program listens. They are divided into blocks, one for each process that runs tests.
const (
	first  = 10240
	blocks = 64
	size   = 256
)

var (
	mu    sync.Mutex
	mine  net.Listener // reserves the block until the process ends; nil before the first call
	begin int          // of the block
	given int          // number of calls
)

// On returns a port that is unused on a host and that no other process gets. The process does not get it again before it
// has got all others of its block.
func On(host string) (int, error) {
	mu.Lock()
	defer mu.Unlock()
	if mine == nil {
		var err error
		if mine, begin, err = reserve(); err != nil {
			return 0, err
		}
	}
	for range size {
		port := begin + given%size
		given++
		ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			ln.Close()
			return port, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return 0, err
		}
	}
	return 0, fmt.Errorf("all ports from %d to %d are in use", begin, begin+size-1)
}

// reserve reserves a block by an abstract unix socket: as ports do, it belongs to a network namespace, and the kernel
// releases it when the process ends.
func reserve() (net.Listener, int, error) {
	for i := range blocks {
		ln, err := net.Listen("unix", "@sightglass-ports-"+strconv.Itoa(i))
		if err == nil {
			return ln, first + i*size, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, 0, err
		}
	}
	return nil, 0, fmt.Errorf("%d other processes have reserved all ports", blocks)
}
