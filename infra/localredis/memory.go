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
	"sightglass/shared/history"
)

// saveInterval is how often the keys are saved. A kill costs that much of the history, which is one entry.
const saveInterval = 10 * time.Second

// A memory is a Redis inside this process. It has its data in memory, and saves the keys that outlive a restart.
type memory struct {
	r        *Redis
	note     string // why there is no redis-server
	server   *miniredis.Miniredis
	listener net.Listener
	outage   daemon.Outage
}

func (m *memory) String() string {
	return "in-process Redis, saved every 10 s (" + m.note + ")"
}

func (m *memory) start(context.Context) (err error) {
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
	return nil
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
	ctx, cancel := context.WithTimeout(context.Background(), responseTimeout)
	defer cancel()
	defer m.end()
	if err := m.r.save(ctx); err != nil {
		return fmt.Errorf("the history and the engine's state since the last save are lost: %w; make room on the disk of %s", err, m.r.opts.Dir)
	}
	return nil
}

func (m *memory) end() {
	if m.listener != nil {
		m.listener.Close()
	}
	if m.server != nil {
		m.server.Close()
	}
}

// saved are the keys that outlive a restart. gzip adds the checksum.
type saved struct {
	Format  int       `json:"format"`
	Version string    `json:"version"`
	Epoch   string    `json:"epoch"`
	Engine  []byte    `json:"engine"`
	History []redis.Z `json:"history"` // the recent series

	Series map[string][]redis.Z `json:"series,omitempty"` // the other series of the history, by key
	Values map[string]string    `json:"values,omitempty"` // of the history's keys that are no series
}

// The keys of the history that saved has by name.
var (
	seriesKeys = []string{history.KeyBlocks, history.KeyHours, history.KeyDays}
	valueKeys  = []string{history.KeySchema, history.KeyProgress}
)

const (
	savedName = "keys.json.gz"
	// maxSaved bounds what a file may expand to: the whole history has 5 MB.
	maxSaved = 64 << 20
)

// save writes the keys to a file, which it replaces atomically.
func (r *Redis) save(ctx context.Context) (err error) {
	defer func() { r.saved(err) }()
	var epoch, engine *redis.StringCmd
	series, values := make(map[string]*redis.ZSliceCmd), make(map[string]*redis.StringCmd)
	_, err = r.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		epoch, engine = p.Get(ctx, contract.KeyEpoch), p.Get(ctx, contract.KeyEngine)
		for _, key := range append(seriesKeys, history.KeyRecent) {
			series[key] = p.ZRangeWithScores(ctx, key, 0, -1)
		}
		for _, key := range valueKeys {
			values[key] = p.Get(ctx, key)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	s := saved{
		Format: format, Version: r.opts.Version, Epoch: epoch.Val(), Engine: []byte(engine.Val()), History: series[history.KeyRecent].Val(),
		Series: make(map[string][]redis.Z), Values: make(map[string]string),
	}
	for _, key := range seriesKeys {
		s.Series[key] = series[key].Val()
	}
	for _, key := range valueKeys {
		if v := values[key].Val(); v != "" {
			s.Values[key] = v
		}
	}
	var file bytes.Buffer
	compressed := gzip.NewWriter(&file)
	if err := errors.Join(json.NewEncoder(compressed).Encode(s), compressed.Close()); err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(r.opts.Dir, savedName), file.Bytes(), 0o600)
}

// readSaved returns the saved keys of a directory; nil if it has none.
func readSaved(dir string) (*saved, error) {
	path := filepath.Join(dir, savedName)
	file, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("the data directory %s cannot be read: %w", dir, err)
	}
	defer file.Close()
	s := new(saved)
	expanded, err := gzip.NewReader(file)
	if err != nil {
		return nil, damaged(path, err)
	}
	text, err := io.ReadAll(io.LimitReader(expanded, maxSaved))
	if err == nil {
		err = json.Unmarshal(text, s)
	}
	switch {
	case err != nil:
		return nil, damaged(path, err)
	case s.Format < 1:
		return nil, damaged(path, errors.New("want a format"))
	case s.Format > format:
		return nil, newer(path, s.Format, s.Version)
	}
	return s, nil
}

// load writes saved keys to Redis. redis-server, if it was installed since, takes them over once; if it has keys of its own,
// those are newer.
func (r *Redis) load(ctx context.Context, s *saved) error {
	if s == nil {
		return nil
	}
	_, isProcess := r.backend.(*process)
	if held, err := r.client.Exists(ctx, contract.KeyEpoch).Result(); err != nil || held == 1 {
		return err
	}
	_, err := r.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		if s.Epoch != "" {
			p.Set(ctx, contract.KeyEpoch, s.Epoch, 0)
		}
		if len(s.Engine) > 0 {
			p.Set(ctx, contract.KeyEngine, s.Engine, 0)
		}
		if len(s.History) > 0 {
			p.ZAdd(ctx, history.KeyRecent, s.History...)
		}
		for _, key := range seriesKeys {
			if rows := s.Series[key]; len(rows) > 0 {
				p.ZAdd(ctx, key, rows...)
			}
		}
		for _, key := range valueKeys {
			if v := s.Values[key]; v != "" {
				p.Set(ctx, key, v, 0)
			}
		}
		return nil
	})
	if err != nil || !isProcess {
		return err
	}
	path := filepath.Join(r.opts.Dir, savedName)
	r.opts.Log.Info("redis-server has taken over the saved keys", "file", path)
	return os.Rename(path, path+".old")
}
