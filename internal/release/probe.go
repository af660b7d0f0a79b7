package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"caisseauto/manifest"
)

// ErrProbe: a release was switched to and did not prove itself; the one before
// it runs again.
var ErrProbe = errors.New("the release does not work here")

// lastWords is how much of what a probe printed is shown.
const lastWords = 500

// probe runs the probe of a release through current, as everything else does
// that runs it. The release has proven itself when it ends with 0 in time.
func (p *Product) probe(ctx context.Context, b *Batch) error {
	if b.Probe == nil {
		return nil
	}
	dir := p.path(placeOf(b))
	limit := time.Duration(b.Probe.Seconds) * time.Second
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(timed, filepath.Join(p.running(dir), filepath.FromSlash(b.Probe.Command[0])), b.Probe.Command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(cleaned(os.Environ()), "CAISSEAUTO_PRODUCT="+b.Product, "CAISSEAUTO_VERSION="+b.Version)
	said := &tail{most: lastWords}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = 500 * time.Millisecond // for what it started and left behind with the other end of our pipe
	together(cmd)
	err := cmd.Run()
	apart(cmd)
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // we are being stopped: nothing is said about the release
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it ended with 0; whoever it left is ended too
		return nil
	case timed.Err() != nil:
		return fmt.Errorf("probe: not ended after %s%s", limit, said)
	}
	return fmt.Errorf("probe: %w%s", err, said)
}

// secrets are variables that lead to keys, which no package needs.
var secrets = []string{"CAISSEAUTO_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY", "SSH_AUTH_SOCK"}

func cleaned(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(secrets, name)
	})
}

// tail keeps the last bytes that were written to it.
type tail struct {
	most int
	b    []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - t.most; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

// String is what was written, for the end of a sentence.
func (t *tail) String() string {
	s := strings.TrimSpace(manifest.Clip(strings.TrimSpace(string(t.b)), t.most))
	if s == "" {
		return ""
	}
	return ": " + s
}
