package term

import (
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// ErrNoTerminal: what was asked for needs a terminal to be shown on.
var ErrNoTerminal = errors.New("not a terminal")

// A Screen shows a text that changes, on the whole of a terminal, and gives the
// terminal back as it was.
type Screen struct {
	out  io.Writer
	size func() (width, height int)
	once sync.Once
}

// NewScreen takes the terminal over: its other screen (ECMA-48 private mode
// 1049, which xterm and all after it have), without the cursor. Anything that
// is no terminal is [ErrNoTerminal]. The caller must call Close.
func NewScreen(out io.Writer) (*Screen, error) {
	f, ok := out.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, ErrNoTerminal
	}
	s := &Screen{out: out, size: func() (int, int) {
		w, h, err := term.GetSize(int(f.Fd()))
		if err != nil || w < 1 || h < 1 {
			return 80, 24
		}
		return w, h
	}}
	_, err := io.WriteString(out, "\x1b[?1049h\x1b[?25l")
	return s, err
}

// Draw shows the text, cut to what the terminal has room for now: it may have
// been resized. The text is not cleaned.
func (s *Screen) Draw(text string) error {
	width, height := s.size()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range lines[:min(len(lines), height)] {
		if i == height-1 && len(lines) > height {
			line = "… " + Count(len(lines)-height+1) + " more lines"
		}
		b.WriteString(cut(line, width) + "\x1b[K")
		if i < min(len(lines), height)-1 {
			b.WriteString("\r\n")
		}
	}
	b.WriteString("\x1b[J")
	_, err := io.WriteString(s.out, b.String())
	return err
}

// cut shortens a line to so many columns.
func cut(line string, width int) string {
	if uniseg.StringWidth(line) <= width {
		return line
	}
	used, end := 0, 0
	g := uniseg.NewGraphemes(line)
	for g.Next() {
		if used += g.Width(); used > width-1 {
			break
		}
		_, end = g.Positions()
	}
	return line[:end] + "…"
}

// Close gives the terminal back. It may be called twice.
func (s *Screen) Close() error {
	var err error
	s.once.Do(func() { _, err = io.WriteString(s.out, "\x1b[?25h\x1b[?1049l") })
	return err
}
