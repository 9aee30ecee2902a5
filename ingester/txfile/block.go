package txfile

import (
	"bytes"
	"fmt"
	"io"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
)

// decodeBlock reads one block. A block is at most as large as the largest transaction that could fill it, so that is
// the bound on what is read into memory.
func decodeBlock(name string, in io.Reader) (*File, error) {
	fail := func(offset int, err error) (*File, error) {
		return nil, &Error{File: name, Offset: int64(offset), Err: fmt.Errorf("%w; %w", err, ErrFormat)}
	}
	data, err := io.ReadAll(io.LimitReader(in, rawtx.MaxSize+1))
	switch {
	case err != nil:
		return fail(len(data), err)
	case len(data) > rawtx.MaxSize:
		return fail(rawtx.MaxSize, fmt.Errorf("larger than a block can be (%d bytes)", rawtx.MaxSize))
	case len(data) == 0:
		return fail(0, fmt.Errorf("the file is empty"))
	}
	r := bytes.NewReader(data)
	var block wire.MsgBlock
	if err := block.Deserialize(r); err != nil {
		return fail(len(data)-r.Len(), err)
	}
	if r.Len() > 0 {
		return fail(len(data)-r.Len(), fmt.Errorf("the block ends here, but %d bytes follow", r.Len()))
	}
	if len(block.Transactions) == 0 {
		return fail(len(data), fmt.Errorf("the block holds no transactions"))
	}
	return &File{Transactions: block.Transactions, Mined: block.Header.Timestamp}, nil
}
