package localredis

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/renameio/v2"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
	"sightglass/shared/daemon"
)

// saveInterval is how often the keys are saved. A kill costs that much of the history, which is one entry.
const saveInterval = 10 * time.Second

// A memory is a Redis inside this process. It has its data in memory, and saves the keys that outlive a restart.
type memory struct {
	r        *Redis
	server   *miniredis.Miniredis
	listener net.Listener
	outage   daemon.Outage
}

func (m *memory) String() string {
	return "in-process Redis, saved every 10 s (redis-server is not installed)"
}

func (m *memory) start(ctx context.Context) (err error) {
	for _, name := range []string{"appendonlydir", "appendonly.aof"} {
		if _, err := os.Stat(filepath.Join(m.r.opts.Dir, name)); err == nil {
			return fmt.Errorf("the data directory %s was written by redis-server, which is not installed: install it (sudo apt-get install redis-server), or choose another directory with --data-dir", m.r.opts.Dir)
		}
	}
	m.outage.Log = m.r.opts.Log
	m.server = miniredis.NewMiniRedis()
	first, err := m.server.Dial() // starts it without a TCP port
	if err != nil {
		return err
	}
	first.Close()
	if m.listener, err = net.Listen("unix", m.r.socket); err != nil {
		return unwritable(m.r.opts.Dir, err)
	}
	if err := os.Chmod(m.r.socket, 0o600); err != nil {
		return unwritable(m.r.opts.Dir, err)
	}
	go func() {
		for {
			conn, err := m.listener.Accept()
			if err != nil {
				return // closed
			}
			m.server.Server().ServeConn(conn)
		}
	}()
	_, err = m.r.load(ctx)
	return err
}

func (m *memory) run(ctx context.Context) {
	save := time.NewTicker(saveInterval)
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-save.C:
			if err := m.r.save(ctx); err != nil && ctx.Err() == nil {
				m.outage.Failed("cannot save the history and the engine's state; a restart would begin with those saved last. Is the disk full?", err)
			} else {
				m.outage.Recovered("the history and the engine's state are saved again")
			}
		}
	}
}

func (m *memory) stop() error {
	if m.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := m.r.save(ctx)
	m.listener.Close()
	m.server.Close()
	return err
}

// saved are the keys that outlive a restart. gzip adds the checksum.
type saved struct {
	Format  int       `json:"format"`
	Version string    `json:"version"`
	Epoch   string    `json:"epoch"`
	Engine  []byte    `json:"engine"`
	History []redis.Z `json:"history"`
}

const (
	savedName = "keys.json.gz"
	// maxSaved bounds what a file may expand to: two days of history have 2 MB.
	maxSaved = 64 << 20
)

// save writes the keys to a file, which it replaces atomically.
func (r *Redis) save(ctx context.Context) (err error) {
	defer func() { r.failed(err) }()
	var epoch, engine *redis.StringCmd
	var history *redis.ZSliceCmd
	_, err = r.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		epoch, engine = p.Get(ctx, contract.KeyEpoch), p.Get(ctx, contract.KeyEngine)
		history = p.ZRangeWithScores(ctx, contract.KeyHistory, 0, -1)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	s := saved{Format: format, Version: r.opts.Version, Epoch: epoch.Val(), Engine: []byte(engine.Val()), History: history.Val()}
	var file bytes.Buffer
	compressed := gzip.NewWriter(&file)
	if err := errors.Join(json.NewEncoder(compressed).Encode(s), compressed.Close()); err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(r.opts.Dir, savedName), file.Bytes(), 0o600)
}

// load writes the saved keys to Redis, and reports whether there were any.
func (r *Redis) load(ctx context.Context) (bool, error) {
	path := filepath.Join(r.opts.Dir, savedName)
	file, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("the data directory %s cannot be read: %w", r.opts.Dir, err)
	}
	defer file.Close()
	var s saved
	expanded, err := gzip.NewReader(file)
	if err == nil {
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(expanded, maxSaved)); err == nil {
			err = json.Unmarshal(text, &s)
		}
	}
	switch {
	case err == nil && s.Format > format:
		return false, newer(path, s.Format, s.Version)
	case err != nil || s.Format < 1:
		return false, damaged(path, err)
	}
	_, err = r.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		if s.Epoch != "" {
			p.Set(ctx, contract.KeyEpoch, s.Epoch, 0)
		}
		if len(s.Engine) > 0 {
			p.Set(ctx, contract.KeyEngine, s.Engine, 0)
		}
		if len(s.History) > 0 {
			p.ZAdd(ctx, contract.KeyHistory, s.History...)
		}
		return nil
	})
	return true, err
}
