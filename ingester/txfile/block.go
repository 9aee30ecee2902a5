package txfile

import (
	"errors"
	"fmt"
	"io"

	"sightglass/ingester/rawtx"
)

// decodeBlock reads one block. What is read into memory is bounded by the largest block that there can be.
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

// place takes an error of rawtx apart: where bytes are wrong, and what is wrong with them.
func place(err, kind error) (offset int, what error) {
	if at, ok := errors.AsType[*rawtx.Error](err); ok {
		return at.Offset, fmt.Errorf("%w: %w", kind, at.Err)
	}
	return 0, err
}
