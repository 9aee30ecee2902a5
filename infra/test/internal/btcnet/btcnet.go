// Package btcnet runs a network of btcd processes on the loopback interface, for tests of what speaks Bitcoin's
// peer-to-peer protocol. Its chain is simnet, where a CPU mines a block at once. The network has a wallet that makes
// valid payments, and peers that lie (see Liar).
//
// Node i listens on 127.(i+1).0.1, so each node is in another /16. btcd's addrmgr.GroupKey puts all loopback addresses
// into one group, "local", and its address manager rejects them, since they are not routable.
package btcnet

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcjson"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/integration/rpctest"
	"github.com/btcsuite/btcd/wire"

	"sightglass/infra/internal/freeport"
	"sightglass/infra/test/internal/programs"
	"sightglass/ingester/rawtx"
)

// A Net is a network of btcd processes. Its methods may be called concurrently, as to pay while a node restarts.
type Net struct {
	nodes  []*node
	links  []link
	wallet *wallet
}

// A link is a connection that one node opens to another. btcd would reopen a lost connection only after 5 s or more,
// so the Net opens all connections itself, by RPC.
type link struct{ from, to int }

// params are those of the network. They are read only.
var params = &chaincfg.SimNetParams

// segwitHeight is the height at which simnet activates segwit: btcd's mempool rejects witnesses before.
const segwitHeight = 300

// Start starts n nodes, and connects them in a ring with chords. Segwit is active, and all nodes have the same chain.
// The processes are killed when the test ends.
func Start(t testing.TB, n int) *Net {
	t.Helper()
	program := programs.BuildTool(t, "github.com/btcsuite/btcd")
	b := &Net{wallet: newWallet(t)}
	for i := range n {
		b.nodes = append(b.nodes, newNode(t, program, i, b.wallet.address))
		if to := (i + 1) % n; to > i || n > 2 {
			b.links = append(b.links, link{i, to})
		}
		if to := i + n/2; n > 3 && to < n {
			b.links = append(b.links, link{i, to})
		}
	}
	t.Cleanup(func() { b.logFailure(t) })
	// The others load the finished chain from the first node, not from each other: see caughtUp.
	b.nodes[0].start(t)
	b.nodes[0].ready(t)
	b.wallet.fund(t, b)
	for _, node := range b.nodes[1:] {
		node.start(t)
	}
	for i := range b.nodes[1:] {
		b.nodes[i+1].ready(t)
		l := link{0, i + 1}
		b.connect(t, l)
		if !slices.Contains(b.links, l) {
			defer b.disconnect(t, l)
		}
	}
	for i := range b.nodes {
		b.caughtUp(t, i)
	}
	for _, l := range b.links {
		b.connect(t, l)
	}
	return b
}

// logFailure logs the end of each node's output if the test has failed.
func (b *Net) logFailure(t testing.TB) {
	if !t.Failed() {
		return
	}
	for i, n := range b.nodes {
		process, _ := n.current()
		if process == nil {
			continue
		}
		lines := strings.Split(process.Printed(), "\n")
		t.Logf("node %d at %s, running: %t\n%s", i, n.addr, process.Running(),
			strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
}

// Addrs returns the address at which each node listens for peers, also of killed nodes.
func (b *Net) Addrs() (addrs []string) {
	for _, n := range b.nodes {
		addrs = append(addrs, n.addr)
	}
	return addrs
}

// Mine mines blocks at a node, and returns their hashes. The blocks contain what the node's mempool has. Each block is
// spread before the next one is mined: a btcd that receives blocks in another order leaves their transactions in its
// mempool, and drops them in a reorganisation.
func (b *Net) Mine(t testing.TB, i, blocks int) (hashes []chainhash.Hash) {
	t.Helper()
	for range blocks {
		hash := b.nodes[i].generate(t, 1)[0]
		b.spread(t, i, hash)
		hashes = append(hashes, hash)
	}
	return hashes
}

// spread waits until the nodes that are connected with node i have its block, perhaps not in their best chain.
func (b *Net) spread(t testing.TB, i int, hash chainhash.Hash) {
	t.Helper()
	if b.nodes[i].separated.Load() {
		return
	}
	for j, n := range b.nodes {
		if !n.inNetwork() {
			continue
		}
		programs.Until(t, fmt.Sprintf("node %d to have block %v", j, hash), func() bool {
			return !n.inNetwork() || n.try(t.Context(), nil, "getblock", hash.String(), 0) == nil
		})
	}
}

// Mempool returns the IDs of the transactions in a node's mempool.
func (b *Net) Mempool(t testing.TB, i int) []chainhash.Hash {
	t.Helper()
	var texts []string
	b.nodes[i].call(t, &texts, "getrawmempool")
	return parseHashes(t, texts)
}

// Best returns the hash and the height of a node's newest block.
func (b *Net) Best(t testing.TB, i int) (hash chainhash.Hash, height int) {
	t.Helper()
	var best btcjson.GetBestBlockResult
	b.nodes[i].call(t, &best, "getbestblock")
	return parseHashes(t, []string{best.Hash})[0], int(best.Height)
}

// Block returns a block of a node.
func (b *Net) Block(t testing.TB, i int, hash chainhash.Hash) *wire.MsgBlock {
	t.Helper()
	var text string
	b.nodes[i].call(t, &text, "getblock", hash.String(), 0)
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	block, err := rawtx.DecodeBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// Peers returns what a node reports of its connections.
func (b *Net) Peers(t testing.TB, i int) (peers []btcjson.GetPeerInfoResult) {
	t.Helper()
	b.nodes[i].call(t, &peers, "getpeerinfo")
	return peers
}

// Complaints returns the lines of a node's log about peers that misbehave, and about banned and disconnected ones. They
// are of its newest process.
func (b *Net) Complaints(i int) (lines []string) {
	process, _ := b.nodes[i].current()
	for line := range strings.SplitSeq(process.Printed(), "\n") {
		if strings.Contains(line, "Misbehaving") || strings.Contains(line, "Banned") ||
			strings.Contains(line, "disconnecting") {
			lines = append(lines, line)
		}
	}
	return lines
}

// Synced waits until all nodes have the same newest block, except those that are killed or separated.
func (b *Net) Synced(t testing.TB) {
	t.Helper()
	programs.Until(t, "all nodes to have the same block", func() bool {
		var hashes []chainhash.Hash
		for i, n := range b.nodes {
			if n.inNetwork() {
				hash, _ := b.Best(t, i)
				hashes = append(hashes, hash)
			}
		}
		for _, hash := range hashes {
			if hash != hashes[0] {
				return false
			}
		}
		return true
	})
}

// Everywhere waits until the mempools of all nodes have the transactions, except those that are killed or separated.
func (b *Net) Everywhere(t testing.TB, txs ...*wire.MsgTx) {
	t.Helper()
	for i, n := range b.nodes {
		if !n.inNetwork() {
			continue
		}
		programs.Until(t, fmt.Sprintf("node %d to have %d transactions", i, len(txs)), func() bool {
			has := make(map[chainhash.Hash]bool)
			for _, id := range b.Mempool(t, i) {
				has[id] = true
			}
			for _, tx := range txs {
				if !has[tx.TxHash()] {
					return false
				}
			}
			return true
		})
	}
}

// Reorganise replaces the last blocks of a node's chain with one block more, and returns the hashes of the new blocks.
// The new blocks are empty, so the transactions of the replaced ones return to the mempools. The other nodes follow:
// see Synced.
func (b *Net) Reorganise(t testing.TB, i, depth int) (hashes []chainhash.Hash) {
	t.Helper()
	best, height := b.Best(t, i)
	parent := b.Block(t, i, best)
	for range depth {
		parent = b.Block(t, i, parent.Header.PrevBlock)
		height--
	}
	for range depth + 1 {
		before := btcutil.NewBlock(parent)
		before.SetHeight(int32(height))
		at := time.Unix(max(time.Now().Unix(), parent.Header.Timestamp.Unix()+1), 0)
		reward := []wire.TxOut{{Value: subsidy, PkScript: foreignScript()}} // random, so that no block is made twice
		block, err := rpctest.CreateBlock(before, nil, parent.Header.Version, at, b.wallet.address, reward, params)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := block.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		var rejection *string
		b.nodes[i].call(t, &rejection, "submitblock", hex.EncodeToString(raw))
		if rejection != nil {
			t.Fatalf("node %d rejected a block: %s", i, *rejection)
		}
		b.spread(t, i, *block.Hash())
		parent, height = block.MsgBlock(), height+1
		hashes = append(hashes, *block.Hash())
	}
	return hashes
}

// Kill kills a node with SIGKILL.
func (b *Net) Kill(t testing.TB, i int) {
	t.Helper()
	b.nodes[i].synced.Store(false)
	process, _ := b.nodes[i].current()
	process.Signal(t, syscall.SIGKILL)
	process.Wait()
}

// Restart starts a killed node at the same address, connects it as before, and waits until it has the others' chain. It
// downloads all of it, since btcd seldom writes its index. Its mempool is empty: btcd does not save it, and the other
// nodes announce only new transactions.
func (b *Net) Restart(t testing.TB, i int) {
	t.Helper()
	b.Synced(t)
	b.nodes[i].start(t)
	b.nodes[i].ready(t)
	b.Rejoin(t, i)
	b.caughtUp(t, i)
}

// caughtUp waits until a node has the height of all others. A node that downloads the chain does not announce the
// blocks. So one that connects to it meanwhile would stay where the other was at that moment, until the next new block.
func (b *Net) caughtUp(t testing.TB, i int) {
	t.Helper()
	highest := 0
	for j, n := range b.nodes {
		if n.inNetwork() {
			_, height := b.Best(t, j)
			highest = max(highest, height)
		}
	}
	programs.Until(t, fmt.Sprintf("node %d to be at height %d", i, highest), func() bool {
		_, height := b.Best(t, i)
		return height >= highest
	})
	b.nodes[i].synced.Store(true)
}

// Separate closes a node's connections with the other nodes. Pay then does not use it.
func (b *Net) Separate(t testing.TB, i int) {
	t.Helper()
	b.nodes[i].separated.Store(true)
	for _, l := range b.linksOf(i) {
		b.disconnect(t, l)
	}
}

// Rejoin opens the connections again that Separate, or Kill, closed. A node with fewer blocks than the others then
// downloads the missing ones; if it has more, the others learn of that from its next block.
func (b *Net) Rejoin(t testing.TB, i int) {
	t.Helper()
	b.nodes[i].separated.Store(false)
	for _, l := range b.linksOf(i) {
		if b.nodes[l.from].inNetwork() && b.nodes[l.to].inNetwork() {
			b.connect(t, l)
		}
	}
}

// linksOf returns the links of a node with running nodes.
func (b *Net) linksOf(i int) (links []link) {
	for _, l := range b.links {
		if (l.from == i || l.to == i) && b.nodes[l.from].running() && b.nodes[l.to].running() {
			links = append(links, l)
		}
	}
	return links
}

// connect opens a link, and waits until both nodes have completed the handshake.
func (b *Net) connect(t testing.TB, l link) {
	t.Helper()
	if b.connected(t, l) {
		return
	}
	b.nodes[l.from].call(t, nil, "addnode", b.nodes[l.to].addr, "onetry")
	programs.Until(t, fmt.Sprintf("node %d to connect to node %d", l.from, l.to), func() bool {
		return b.connected(t, l)
	})
}

// disconnect closes a link.
func (b *Net) disconnect(t testing.TB, l link) {
	t.Helper()
	if !b.connected(t, l) {
		return
	}
	b.nodes[l.from].call(t, nil, "node", "disconnect", b.nodes[l.to].addr)
	programs.Until(t, fmt.Sprintf("node %d to disconnect from node %d", l.from, l.to), func() bool {
		return !b.connected(t, l)
	})
}

// connected reports whether a link is open, as its first node sees it.
func (b *Net) connected(t testing.TB, l link) bool {
	t.Helper()
	for _, p := range b.Peers(t, l.from) {
		if p.Addr == b.nodes[l.to].addr {
			return true
		}
	}
	return false
}

// A node is one btcd process, or one after another with the same data.
type node struct {
	program string
	addr    string // host:port
	dir     string
	mining  string      // address
	synced  atomic.Bool // it has the others' chain, so it accepts payments

	separated atomic.Bool

	mu      sync.Mutex
	rpc     string // host:port
	process *programs.Process
}

func newNode(t testing.TB, program string, i int, mining btcutil.Address) *node {
	t.Helper()
	return &node{
		program: program,
		addr:    freeAddr(t, fmt.Sprintf("127.%d.0.1", i+1)),
		dir:     t.TempDir(),
		mining:  mining.EncodeAddress(),
	}
}

const rpcUser, rpcPassword = "test", "test"

// start starts the process. It may not respond yet: see ready.
func (n *node) start(t testing.TB) {
	t.Helper()
	rpc := programs.FreeAddr(t) // btcd allows RPC without TLS only on 127.0.0.1
	cmd := exec.Command(n.program,
		"--simnet", "--listen", n.addr, "--datadir", filepath.Join(n.dir, "data"), "--logdir", filepath.Join(n.dir, "log"),
		"--rpclisten", rpc, "--rpcuser", rpcUser, "--rpcpass", rpcPassword, "--notls", "--rpcmaxclients", "100",
		"--miningaddr", n.mining, "--blockmaxweight", "3996000", "--blockprioritysize", "0",
		"--trickleinterval", "100ms",
		"--nostalldetect",                      // after 30 s it disconnects nodes that have no new block for getblocks
		"--nopeerbloomfilters", "--nocfilters", // the defaults of bitcoind
		"--utxocachemaxsize", "4", "--sigcachemaxsize", "10000") // btcd allocates the former at the start
	// btcd creates a folder in its home. Without GOGC, it collects garbage whenever its heap has grown by 10 %.
	cmd.Env = append(os.Environ(), "HOME="+n.dir, "GOGC=100")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that panics leaves no process behind
	process := programs.LaunchCommand(t, cmd)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rpc, n.process = rpc, process
}

// current returns the newest process, and its address for RPC.
func (n *node) current() (process *programs.Process, rpc string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process, n.rpc
}

// generate mines blocks, and returns their hashes.
func (n *node) generate(t testing.TB, blocks int) []chainhash.Hash {
	t.Helper()
	var texts []string
	n.call(t, &texts, "generate", blocks)
	return parseHashes(t, texts)
}

// inNetwork reports whether the node is running, and not separated from the others.
func (n *node) inNetwork() bool { return n.running() && !n.separated.Load() }

func (n *node) running() bool {
	process, _ := n.current()
	return process != nil && process.Running()
}

// ready waits until the process responds to RPC.
func (n *node) ready(t testing.TB) {
	t.Helper()
	programs.Until(t, "btcd to respond", func() bool {
		if process, _ := n.current(); !process.Running() {
			t.Fatalf("btcd exited:\n%s", process.Output())
		}
		return n.try(t.Context(), nil, "getblockcount") == nil
	})
}

// call makes an RPC request. result is nil, or what the response is decoded into.
func (n *node) call(t testing.TB, result any, method string, args ...any) {
	t.Helper()
	if err := n.try(t.Context(), result, method, args...); err != nil {
		t.Fatal(err)
	}
}

func (n *node) try(ctx context.Context, result any, method string, args ...any) error {
	fail := func(err error) error { return fmt.Errorf("%s at %s: %w", method, n.addr, err) }
	if args == nil {
		args = []any{}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "1.0", "id": 1, "method": method, "params": args})
	if err != nil {
		return fail(err)
	}
	_, rpc := n.current()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+rpc, bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	request.SetBasicAuth(rpcUser, rpcPassword)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fail(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fail(errors.New(response.Status))
	}
	var reply struct {
		Result json.RawMessage
		Error  *btcjson.RPCError
	}
	if err := json.NewDecoder(response.Body).Decode(&reply); err != nil {
		return fail(err)
	}
	if reply.Error != nil {
		return fail(reply.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(reply.Result, result); err != nil {
		return fail(err)
	}
	return nil
}

// freeAddr returns an address with a currently unused port of a host.
func freeAddr(t testing.TB, host string) string {
	t.Helper()
	port, err := freeport.On(host)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

func parseHashes(t testing.TB, texts []string) []chainhash.Hash {
	t.Helper()
	hashes := make([]chainhash.Hash, len(texts))
	for i, text := range texts {
		if err := chainhash.Decode(&hashes[i], text); err != nil {
			t.Fatal(err)
		}
	}
	return hashes
}
