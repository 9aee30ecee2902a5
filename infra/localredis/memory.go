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

const (
	// saveInterval is how often the keys are saved that change all the time. A kill costs that much of the history, which is
	// one entry.
	saveInterval = 10 * time.Second
	// seriesInterval is how often the long series are saved. They have over half a megabyte when they are full, which would
	// wear out a home's disk every 10 s. A kill costs nothing: an ingester rebuilds the candles of the last two days, and the
	// backfill continues from the progress that is saved with its blocks.
	seriesInterval = 10 * time.Minute
)

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
	seriesSaved := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-save.C:
			withSeries := now.Sub(seriesSaved) >= seriesInterval
			err := m.r.save(ctx, withSeries)
			if withSeries && err == nil {
				seriesSaved = now
			}
			if err != nil && ctx.Err() == nil {
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
	if err := m.r.save(ctx, true); err != nil {
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

// saved are the keys that outlive a restart, and that change all the time. gzip adds the checksum.
type saved struct {
	header
	Epoch   string    `json:"epoch"`
	Engine  []byte    `json:"engine"`
	History []redis.Z `json:"history"` // the recent series
}

// savedSeries are the history's other keys, by name: the series, and the values that describe them.
type savedSeries struct {
	header
	Series map[string][]redis.Z `json:"series"`
	Values map[string]string    `json:"values"`
}

// A header begins each file.
type header struct {
	Format  int    `json:"format"`
	Version string `json:"version"`
}

func (h header) check(path string) error {
	switch {
	case h.Format < 1:
		return damaged(path, errors.New("want a format"))
	case h.Format > format:
		return newer(path, h.Format, h.Version)
	}
	return nil
}

// The keys of savedSeries.
var (
	seriesKeys = []string{history.KeyBlocks, history.KeyHours, history.KeyDays}
	valueKeys  = []string{history.KeySchema, history.KeyProgress}
)

const (
	savedName  = "keys.json.gz"
	seriesName = "history.json.gz"
	// maxSaved bounds what a file may expand to: the whole history has 5 MB.
	maxSaved = 64 << 20
)

func (r *Redis) header() header { return header{Format: format, Version: r.opts.Version} }

// save writes the files of a directory: that of saved, and on demand that of savedSeries.
func (r *Redis) save(ctx context.Context, withSeries bool) error {
	err := r.saveKeys(ctx)
	if withSeries {
		err = errors.Join(err, r.saveSeries(ctx))
	}
	r.saved(err)
	return err
}

func (r *Redis) saveKeys(ctx context.Context) error {
	var epoch, engine *redis.StringCmd
	var recent *redis.ZSliceCmd
	_, err := r.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		epoch, engine = p.Get(ctx, contract.KeyEpoch), p.Get(ctx, contract.KeyEngine)
		recent = p.ZRangeWithScores(ctx, history.KeyRecent, 0, -1)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	return r.writeFile(savedName, saved{
		header: r.header(), Epoch: epoch.Val(), Engine: []byte(engine.Val()), History: recent.Val(),
	})
}

// saveSeries writes the keys as they are at one moment, so that the progress fits the blocks.
func (r *Redis) saveSeries(ctx context.Context) error {
	series, values := make(map[string]*redis.ZSliceCmd), make(map[string]*redis.StringCmd)
	_, err := r.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range seriesKeys {
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
	s := savedSeries{header: r.header(), Series: make(map[string][]redis.Z), Values: make(map[string]string)}
	for key, rows := range series {
		s.Series[key] = rows.Val()
	}
	for key, value := range values {
		if v := value.Val(); v != "" {
			s.Values[key] = v
		}
	}
	return r.writeFile(seriesName, s)
}

// writeFile replaces a file atomically.
func (r *Redis) writeFile(name string, content any) error {
	var file bytes.Buffer
	compressed := gzip.NewWriter(&file)
	if err := errors.Join(json.NewEncoder(compressed).Encode(content), compressed.Close()); err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(r.opts.Dir, name), file.Bytes(), 0o600)
}

// A kept is what the files of a directory have; nil where there is no file.
type kept struct {
	keys   *saved
	series *savedSeries
}

// readKept reads the files of a directory.
func readKept(dir string) (k kept, err error) {
	if k.keys, err = readFile[saved](dir, savedName); err != nil {
		return kept{}, err
	}
	k.series, err = readFile[savedSeries](dir, seriesName)
	return k, err
}

// readFile returns nil if there is no such file.
func readFile[T interface{ check(path string) error }](dir, name string) (*T, error) {
	path := filepath.Join(dir, name)
	file, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("the data directory %s cannot be read: %w", dir, err)
	}
	defer file.Close()
	expanded, err := gzip.NewReader(file)
	if err != nil {
		return nil, damaged(path, err)
	}
	content := new(T)
	text, err := io.ReadAll(io.LimitReader(expanded, maxSaved))
	if err == nil {
		err = json.Unmarshal(text, content)
	}
	if err != nil {
		return nil, damaged(path, err)
	}
	return content, (*content).check(path)
}

// load writes what was kept to Redis. redis-server, if it was installed since, takes it over once; if it has keys of its own,
// those are newer.
func (r *Redis) load(ctx context.Context, k kept) error {
	if k.keys == nil && k.series == nil {
		return nil
	}
	if held, err := r.client.Exists(ctx, contract.KeyEpoch).Result(); err != nil || held == 1 {
		return err
	}
	_, err := r.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		if s := k.keys; s != nil {
			if s.Epoch != "" {
				p.Set(ctx, contract.KeyEpoch, s.Epoch, 0)
			}
			if len(s.Engine) > 0 {
				p.Set(ctx, contract.KeyEngine, s.Engine, 0)
			}
			if len(s.History) > 0 {
				p.ZAdd(ctx, history.KeyRecent, s.History...)
			}
		}
		if s := k.series; s != nil {
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
		}
		return nil
	})
	if _, isProcess := r.backend.(*process); err != nil || !isProcess {
		return err
	}
	for _, name := range []string{savedName, seriesName} {
		path := filepath.Join(r.opts.Dir, name)
		switch err := os.Rename(path, path+".old"); {
		case err == nil:
			r.opts.Log.Info("redis-server has taken over the saved keys", "file", path)
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
	}
	return nil
}
