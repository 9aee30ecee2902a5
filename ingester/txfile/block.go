package txfile

import (
	"errors"
	"fmt"
	"io"

	"sightglass/ingester/rawtx"
)

// decodeBlock reads one block. Its memory is bounded by the largest possible block.
func decodeBlock(name string, in io.Reader) (*File, error) {
	fail := func(offset int, err error) (*File, error) {
		return nil, &Error{File: name, Offset: int64(offset), Err: fmt.Errorf("%w; %w", err, ErrFormat)}
	}
	data, err := io.ReadAll(io.LimitReader(in, rawtx.MaxSize+1))
	switch {
	case err != nil:
		return fail(len(data), err)
	case len(data) > rawtx.MaxSize:
		return fail(rawtx.MaxSize, fmt.Errorf("larger than the largest block (%d bytes)", rawtx.MaxSize))
	case len(data) == 0:
		return fail(0, fmt.Errorf("the file is empty"))
	}
	block, err := rawtx.DecodeBlock(data)
	if err != nil {
		offset, err := place(err, rawtx.ErrInvalidBlock)
		return fail(offset, err)
	}
	if len(block.Transactions) == 0 {
		return fail(len(data), fmt.Errorf("the block holds no transactions"))
	}
	return &File{Transactions: block.Transactions, Mined: block.Header.Timestamp}, nil
}

// place splits an error of rawtx into its offset and the rest.
func place(err, kind error) (offset int, what error) {
	if at, ok := errors.AsType[*rawtx.Error](err); ok {
		return at.Offset, fmt.Errorf("%w: %w", kind, at.Err)
	}
	return 0, err
}
