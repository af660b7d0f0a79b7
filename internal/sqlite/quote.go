package sqlite

import "strings"

// Quote returns name as an SQL identifier, whatever characters it holds:
// between double quotes, with those inside doubled
// (https://www.sqlite.org/lang_keywords.html).
func Quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// QuoteAll returns the names as identifiers, each with prefix before it (an
// alias with its dot, or nothing), between commas.
func QuoteAll(prefix string, names []string) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(prefix)
		b.WriteString(Quote(n))
	}
	return b.String()
}

// quoteText returns s as an SQL text literal.
func quoteText(s string) string {
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// sameName reports whether two names are the same to SQLite, which folds the
// 26 letters of ASCII and no others.
func sameName(a, b string) bool { return foldName(a) == foldName(b) }

// foldName returns name with its ASCII capitals made small.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}
