package sqlite

import "strings"

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
