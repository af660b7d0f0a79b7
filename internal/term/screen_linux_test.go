package term

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestScreen: the terminal is taken over, drawn on within its size, and given
// back.
func TestScreen(t *testing.T) {
	tty, shown := pty(t)
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 4, Col: 10}); err != nil {
		t.Skip(err)
	}
	s, err := NewScreen(tty)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Draw("short\na line that is too long\nÉpicerie été\nfour\nfive\nsix\n"); err != nil {
		t.Error(err)
	}
	// Resized while it is shown.
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 40}); err != nil {
		t.Error(err)
	}
	if err := s.Draw("a line that is too long\n"); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	text := shown()
	for _, want := range []string{"\x1b[?1049h\x1b[?25l\x1b[Hshort\x1b[K", "a line th…\x1b[K", "Épicerie …\x1b[K", "… 3 more …\x1b[K\x1b[J", "a line that is too long\x1b[K\x1b[J"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q: %q", want, text)
		}
	}
	if strings.Contains(text, "five") || !strings.HasSuffix(text, "\x1b[?25h\x1b[?1049l") || strings.Count(text, "1049l") != 1 {
		t.Errorf("%q", text)
	}
}

func TestScreenNoTerminal(t *testing.T) {
	var b bytes.Buffer
	if _, err := NewScreen(&b); !errors.Is(err, ErrNoTerminal) || b.Len() > 0 {
		t.Errorf("error %v, written %q", err, &b)
	}
}
