package page_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"caisseauto/internal/page"
)

func Example() {
	body := page.Template(`<h1>{{text .}}</h1><p>{{badge "ok"}}</p>`)
	var b bytes.Buffer
	if err := page.Write(&b, "Report", body, "Épicerie <b>"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(regexp.MustCompile(`(?s)<h1>.*</p>`).FindString(b.String()))
	// Output: <h1>Épicerie &lt;b&gt;</h1><p><span class="badge ok"><span aria-hidden="true">✓</span> ok</span></p>
}

// Whatever stands in a file is shown as text.
func TestHostileText(t *testing.T) {
	body := page.Template(`<table><tr><td data-label="{{text .}}">{{text .}}</td><td>{{badge "warn" .}}</td><td>{{badge .}}</td></tr></table>`)
	for _, s := range []string{`<script>alert(1)</script>`, `" onload="x`, "\x00\x1b[2J\r\n", "\u202egnp.exe", "\xff\xfe", `{{.}}`, `</style><style>*{display:none}`} {
		var b bytes.Buffer
		if err := page.Write(&b, s, body, s); err != nil {
			t.Fatal(err)
		}
		inner := b.String()[strings.Index(b.String(), "<main>"):]
		for _, bad := range []string{"<script", "<style", "\x1b", "\x00", `" onload`} {
			if strings.Contains(inner, bad) {
				t.Errorf("%q: the page holds %q", s, bad)
			}
		}
		if n := strings.Count(b.String(), "</style>"); n != 1 {
			t.Errorf("%q: %d styles end", s, n)
		}
	}
	if got := page.Text("a\u202eb\x1b\u200fc\xff"); got != "a\ufffdb\ufffd\ufffdc\ufffd" {
		t.Errorf("Text gives %q", got)
	}
}

// A page needs nothing but itself, and says so to the browser.
func TestSelfContained(t *testing.T) {
	var b bytes.Buffer
	if err := page.Write(&b, "Title", page.Template("<p>x</p>"), nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `content="default-src 'none'; style-src 'unsafe-inline'"`) {
		t.Error("no policy forbids what comes from outside")
	}
	for _, bad := range []string{"http:", "https:", "url(", "@import", "<script", "<link", " src="} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
}

// Nothing is written when the body cannot be.
func TestFails(t *testing.T) {
	var b bytes.Buffer
	if err := page.Write(&b, "Title", page.Template("{{.Missing}}"), struct{}{}); err == nil || b.Len() > 0 {
		t.Errorf("error %v, %d bytes", err, b.Len())
	}
	if err := page.Write(broken{}, "Title", page.Template("x"), nil); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("error %v", err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// The style holds what phones, paper and the dark need.
func TestStyle(t *testing.T) {
	css, err := os.ReadFile("page.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"prefers-color-scheme: dark", "@media print", "screen and (max-width: 960px)"} {
		if !bytes.Contains(css, []byte(want)) {
			t.Errorf("no %q", want)
		}
	}
}
