package page

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
	"unicode"

	"caisseauto/internal/term"
)

//go:embed page.css
var css string

// frame is what all pages have in common. The policy allows the style that
// stands in the page, and nothing else.
var frame = template.Must(template.New("frame").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{{.Title}}</title>
<style>
{{.CSS}}</style>
</head>
<body>
<main>
{{.Body}}</main>
</body>
</html>
`))

// Template parses a page's body. Beside what html/template knows there are
// count (10,000), size (1.50 MiB), date and time (UTC), ago (of a duration),
// verdict (a badge for ok, wrong, unchecked, and others as they are), text
// (without control characters) and cells for tables whose columns are named
// again on a telephone. It panics on a template that does not parse.
func Template(body string) *template.Template {
	return template.Must(template.New("body").Funcs(template.FuncMap{
		"count": func(n any) string { return countOf(n) },
		"size":  term.Size,
		"date":  func(t time.Time) string { return stamp(t, "2006-01-02") },
		"time":  func(t time.Time) string { return stamp(t, "2006-01-02 15:04:05 UTC") },
		"ago":   term.Duration,
		"text":  Text,
		"badge": badge,
	}).Parse(body))
}

func countOf(n any) string {
	switch v := n.(type) {
	case int:
		return term.Count(v)
	case int64:
		return term.Count(v)
	}
	return fmt.Sprint(n)
}

func stamp(t time.Time, layout string) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format(layout)
}

// badges are the marks that words get: a shape, so that nobody has to see a
// colour.
var badges = map[string]struct{ class, mark, word string }{
	"ok":        {"ok", "✓", "ok"},
	"wrong":     {"wrong", "✗", "wrong"},
	"warn":      {"warn", "!", "look"},
	"unchecked": {"none", "–", "not checked"},
}

// badge shows a verdict, with a word of its own where one is given.
func badge(verdict any, word ...string) template.HTML {
	b, ok := badges[fmt.Sprint(verdict)]
	if !ok {
		b.class, b.mark, b.word = "none", "–", fmt.Sprint(verdict)
	}
	if len(word) > 0 {
		b.word = word[0]
	}
	return template.HTML(fmt.Sprintf(`<span class="badge %s"><span aria-hidden="true">%s</span> %s</span>`, b.class, b.mark, template.HTMLEscapeString(Text(b.word))))
}

// Text replaces what a browser would not show, or would show in another order
// than it stands: control and formatting characters (Unicode categories Cc and
// Cf, the bidirectional overrides among them).
func Text(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// Attr escapes text for an element or a quoted attribute, for drawings that are
// not made by a template.
func Attr(s string) string { return template.HTMLEscapeString(Text(s)) }

// Write writes a whole page. Nothing is written when the body fails.
func Write(w io.Writer, title string, body *template.Template, data any) error {
	var inner, whole bytes.Buffer
	if err := body.Execute(&inner, data); err != nil {
		return fmt.Errorf("page %q: %w", title, err)
	}
	err := frame.Execute(&whole, struct {
		Title string
		CSS   template.CSS
		Body  template.HTML
	}{Text(title), template.CSS(css), template.HTML(inner.String())})
	if err != nil {
		return fmt.Errorf("page %q: %w", title, err)
	}
	_, err = w.Write(whole.Bytes())
	return err
}
