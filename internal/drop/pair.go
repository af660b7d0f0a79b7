package drop

import (
	"context"
	"fmt"
	"io/fs"
)

// ReadPair reads the head or receipt doc and its signature once. A missing
// file is fs.ErrNotExist. A reader that finds that the two do not belong
// together, because their writer was at work between them, reads again.
func ReadPair(ctx context.Context, d Drop, doc string) (data, sig []byte, err error) {
	p, err := readPairOnce(ctx, d, doc)
	if err == nil && !p.complete() {
		err = fmt.Errorf("%s and its signature: %w", doc, fs.ErrNotExist)
	}
	return p.doc, p.sig, err
}
