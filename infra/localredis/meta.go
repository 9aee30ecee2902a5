package localredis

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// format is the version of the data directory's layout. Programs refuse directories of a higher one.
const format = 1

// meta describes a data directory, in the file metaName.
type meta struct {
	Format  int    `json:"format"`
	Version string `json:"version"` // of the program that first wrote the network
	Network string `json:"network"` // of the node whose transactions the history is of: main, test, signet, ...
}

const metaName = "sightglass.json"

// readMeta returns the zero value if the directory has none.
func readMeta(dir string) (m meta, err error) {
	path := filepath.Join(dir, metaName)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return meta{}, nil
	case err != nil:
		return meta{}, fmt.Errorf("the data directory %s cannot be read: %w", dir, err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return meta{}, damaged(path, err)
	}
	if m.Format < 1 || m.Network == "" {
		return meta{}, damaged(path, errors.New("want a format and a network"))
	}
	if m.Format > format {
		return meta{}, newer(path, m.Format, m.Version)
	}
	return m, nil
}

// damaged explains a file that cannot be used. It is not overwritten, because part of it may be worth saving.
func damaged(path string, err error) error {
	return fmt.Errorf("%s is damaged (%w): restore it from a copy, or move it away to start without it, or choose another directory with --data-dir", path, err)
}

func newer(path string, has int, version string) error {
	return fmt.Errorf("%s is of a newer version, %s (format %d, this program knows %d): use that version, or choose another directory with --data-dir",
		path, version, has, format)
}

// CheckNetwork returns an error if the directory's data are of another network than the node's. The first network is noted.
func (r *Redis) CheckNetwork(network string) error {
	m, err := readMeta(r.opts.Dir)
	switch {
	case err != nil:
		return err
	case m.Network == network:
		return nil
	case m.Network != "":
		return fmt.Errorf("the data directory %s has the history of the network %s, and the node is on %s: connect to a node of %s, or choose another directory with --data-dir",
			r.opts.Dir, m.Network, network, m.Network)
	}
	data, err := json.Marshal(meta{Format: format, Version: r.opts.Version, Network: network})
	if err != nil {
		return err
	}
	err = renameio.WriteFile(filepath.Join(r.opts.Dir, metaName), append(data, '\n'), 0o600)
	r.saved(err)
	if err != nil && !errors.Is(err, syscall.ENOSPC) { // with a full disk the next start notes it
		return unwritable(r.opts.Dir, err)
	}
	return nil
}
