package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// stateName, which no product can have, is the file in a till's folder that holds what the disk does not
// show by itself. What runs is never read from it.
const stateName = ".state.json"

// maxAttempts is how many attempts are remembered.
const maxAttempts = 20

// A state is what a till remembers of a stream of packages.
type state struct {
	Stream string `json:"stream"`
	// Epoch, Sequence and Digest are the end of the chain that was seen.
	Epoch    int64  `json:"epoch"`
	Sequence int64  `json:"sequence"`
	Digest   string `json:"manifest_sha256"`
	// Issue, Issued and Head are those of the newest head that was accepted.
	Issue  int64     `json:"issue"`
	Issued time.Time `json:"issued"`
	Head   string    `json:"head_sha256"` // the digest that it names
	// Given holds the batches that are not tried again, and why.
	Given    []given   `json:"given_up"`
	Attempts []Attempt `json:"attempts"` // the newest last
}

// given is a batch that was given up.
type given struct {
	Sequence int64  `json:"sequence"`
	Digest   string `json:"manifest_sha256"`
	Reason   string `json:"reason"`
}

// An Attempt is a package that was installed, refused or rolled back.
type Attempt struct {
	manifest.Update
	// Told says that the till's journal has it.
	Told bool `json:"told"`
}

func (s *state) position() manifest.Position {
	return manifest.Position{Epoch: s.Epoch, Sequence: s.Sequence, Digest: s.Digest}
}

// gave reports whether a batch was given up. The one that runs never is.
func (s *state) gave(b *Batch) bool {
	return slices.ContainsFunc(s.Given, func(g given) bool { return g.Sequence == b.Sequence && g.Digest == b.Position.Digest })
}

// giveUp notes that a batch is not to be tried again.
func (s *state) giveUp(b *Batch, reason string) {
	if !s.gave(b) {
		s.Given = append(s.Given, given{b.Sequence, b.Position.Digest, reason})
	}
}

// add notes an attempt, unless it is the one before it again: a package that
// is refused at every run is one piece of news.
func (s *state) add(u manifest.Update) {
	if n := len(s.Attempts); n > 0 {
		last := s.Attempts[n-1].Update
		last.At = u.At
		if last == u && u.Outcome == manifest.WasRefused {
			return
		}
	}
	s.Attempts = append(s.Attempts, Attempt{Update: u})
	s.Attempts = s.Attempts[max(0, len(s.Attempts)-maxAttempts):]
}

// load reads the state of the stream; that of another one is of no use.
func load(folder, stream string) (*state, error) {
	path := filepath.Join(folder, stateName)
	fresh := &state{Stream: stream}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: %w; nothing was installed; move it away to begin anew: what runs stays, and packages that were given up are tried again", path, err)
	}
	if s.Stream != stream {
		return fresh, nil
	}
	return &s, nil
}

// save writes the state, in one step.
func (s *state) save(folder string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(folder, stateName), b.Bytes(), 0o644)
}
