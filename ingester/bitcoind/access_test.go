package bitcoind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestProbes_CoverEveryMethod calls every method of a Client, and compares the RPC methods with those that Access
// probes.
func TestProbes_CoverEveryMethod(t *testing.T) {
	called := make(map[string]bool)
	node := newNode(t, func(method, _ string) (string, *Error) {
		called[method] = true // within the node's lock
		return "null", nil
	})
	c := reflect.ValueOf(open(t, Options{URL: node.URL}))
	others := []string{"Close", "Call", "Access"} // Call is given its method
	for i := range c.NumMethod() {
		name := c.Type().Method(i).Name
		if slices.Contains(others, name) {
			continue
		}
		before := len(node.requests())
		c.Method(i).Call(arguments(t, name, c.Method(i).Type()))
		if len(node.requests()) == before {
			t.Errorf("%s: got no RPC call: add it to the others", name)
		}
	}
	var tried, used []string
	for _, trial := range probes {
		tried = append(tried, trial.method)
	}
	for method := range called {
		used = append(used, method)
	}
	slices.Sort(tried)
	slices.Sort(used)
	if !slices.Equal(tried, used) {
		t.Errorf("got probes for %v\nwant them for %v", tried, used)
	}
}

// arguments returns some for a method: a context, ids, zero for the rest.
func arguments(t *testing.T, name string, method reflect.Type) []reflect.Value {
	t.Helper()
	var list []reflect.Value
	for in := range method.NumIn() {
		switch in := method.In(in); {
		case in == reflect.TypeFor[context.Context]():
			list = append(list, reflect.ValueOf(t.Context()))
		case in == reflect.TypeOf(ids(1)):
			list = append(list, reflect.ValueOf(ids(1)))
		case in.Kind() == reflect.Slice, in.Kind() == reflect.Func, in.Kind() == reflect.Pointer:
			t.Fatalf("%s: got a parameter of the unknown type %v: add it here", name, in)
		default:
			list = append(list, reflect.Zero(in))
		}
	}
	return list
}

// TestAccess_NamesForbiddenMethods: bitcoind answers 403 for a method that is not on the list, and 200 or 500 for
// others.
func TestAccess_NamesForbiddenMethods(t *testing.T) {
	for name, c := range map[string]struct {
		forbids func(method string) bool
		want    Access
	}{
		"none": {func(string) bool { return false }, Access{User: user}},
		"two": {
			func(m string) bool { return m == "getmempoolentry" || m == "getblock" },
			Access{User: user, Forbidden: []string{"getmempoolentry", "getblock"}},
		},
		"all": {func(string) bool { return true }, Access{User: user, Forbidden: strings.Split(Whitelist(""), ","), All: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want.All {
				c.want.Forbidden[0] = c.want.Forbidden[0][1:] // no user, so no text before the colon
			}
			node := newNode(t, func(_, params string) (string, *Error) {
				if strings.Contains(params, zeros) {
					return "", &Error{Code: codeNotFound, Message: "not found"}
				}
				return "{}", nil
			})
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				for _, trial := range probes {
					if strings.Contains(string(body), fmt.Sprintf("%q", trial.method)) && c.forbids(trial.method) {
						w.WriteHeader(http.StatusForbidden)
						return
					}
				}
				r.Body = io.NopCloser(strings.NewReader(string(body)))
				node.handle(w, r)
			})
			access, err := open(t, Options{URL: s.URL}).Access(t.Context())
			if err != nil || !reflect.DeepEqual(access, c.want) {
				t.Errorf("got %+v, %v\nwant %+v", access, err, c.want)
			}
		})
	}
}

func TestAccess_MissingMethod(t *testing.T) {
	node := newNode(t, func(method, _ string) (string, *Error) {
		if method == "getzmqnotifications" {
			return "", &Error{Code: codeMethod, Message: "Method not found"}
		}
		return "{}", nil
	})
	access, err := open(t, Options{URL: node.URL}).Access(t.Context())
	if err != nil || !slices.Equal(access.Missing, []string{"getzmqnotifications"}) || access.Forbidden != nil {
		t.Errorf("got %+v, %v, want the missing method", access, err)
	}
}

func TestAccess_NodeIsStarting(t *testing.T) {
	_, err := open(t, Options{URL: serve(t, fails(codeWarmUp, "Loading block index…")).URL}).Access(t.Context())
	if !errors.Is(err, ErrWarmingUp) {
		t.Errorf("got %v, want ErrWarmingUp", err)
	}
}

// TestClient_DetectsZMQPort: a ZMQ socket starts its greeting and waits for ours. (The end-to-end test of the probe
// uses a real one: libzmq 4.3.4 aborts its process if a socket is closed while it reads from a client that does not
// speak ZMQ.)
func TestClient_DetectsZMQPort(t *testing.T) {
	ln := listen(t, "127.0.0.1:0")
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close() // when the test ends
			_, _ = conn.Write([]byte{0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F})
		}
	}()
	for _, scheme := range []string{"http", "https"} {
		c := open(t, Options{URL: scheme + "://" + ln.Addr().String(), Timeout: 20 * time.Second})
		_, err := c.Network(t.Context())
		checkKind(t, err, ErrResponse, []string{"this port is a ZMQ socket", "is --rpc the RPC port"})
	}
}
