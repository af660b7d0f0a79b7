package sqlite

import (
	"errors"
	"strings"
)

// A token is a piece of SQL text: its place, and for a name the name.
type token struct {
	start, end int
	text       string // as written
	name       string // of an identifier, without quotes; "" for anything else
}

// tokens cuts SQL into tokens; comments and blanks are left out. It is only
// ever given text that SQLite itself has accepted
// (https://www.sqlite.org/lang.html, "keywords and identifiers").
func tokens(sql string) []token {
	var list []token
	for i := 0; i < len(sql); {
		start := i
		switch c := sql[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			i++
			continue
		case strings.HasPrefix(sql[i:], "--"):
			i = after(sql, i, "\n")
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			i = after(sql, i+2, "*/")
			continue
		case c == '\'' || c == '"' || c == '`' || c == '[':
			i = quotedEnd(sql, i)
		case nameByte(c):
			for i < len(sql) && (nameByte(sql[i]) || sql[i] >= '0' && sql[i] <= '9') {
				i++
			}
		default:
			i++
		}
		t := token{start: start, end: i, text: sql[start:i]}
		t.name = identifier(t.text)
		list = append(list, t)
	}
	return list
}

// nameByte reports whether a name may start with c. A digit may not; every
// byte over 127 counts as a letter.
func nameByte(c byte) bool {
	return c == '_' || c == '$' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func after(s string, from int, mark string) int {
	if i := strings.Index(s[from:], mark); i >= 0 {
		return from + i + len(mark)
	}
	return len(s)
}

// quotedEnd returns where the literal or quoted name that starts at i ends; a
// doubled quote stands for one.
func quotedEnd(s string, i int) int {
	q := s[i]
	if q == '[' {
		return after(s, i, "]")
	}
	for i++; i < len(s); i++ {
		if s[i] != q {
			continue
		}
		if i+1 < len(s) && s[i+1] == q {
			i++
			continue
		}
		return i + 1
	}
	return len(s)
}

// identifier returns the name that a token stands for, "" when it is none.
// A text in single quotes is taken for a name too: SQLite does so where only
// a name can stand, and who looks for names here may find too many.
func identifier(text string) string {
	switch c := text[0]; {
	case c == '[':
		return strings.Trim(text, "[]")
	case c == '"' || c == '`' || c == '\'':
		if len(text) < 2 {
			return ""
		}
		q := string(c)
		return strings.ReplaceAll(text[1:len(text)-1], q+q, q)
	case nameByte(c):
		return text
	}
	return ""
}

// parse fills in the expressions and the condition, which no pragma tells,
// from the index's CREATE INDEX statement.
func (x *Index) parse(sql string) error {
	list := tokens(sql)
	open := 0
	for open < len(list) && list[open].text != "(" {
		open++
	}
	depth, first, n := 0, open+1, 0
	for i := open; i < len(list); i++ {
		switch list[i].text {
		case "(":
			depth++
		case ")":
			if depth--; depth > 0 {
				continue
			}
			x.setTerm(n, sql, list[first:i])
			x.Where = condition(sql, list[i+1:])
			if n+1 != len(x.Columns) {
				return errors.New("its CREATE INDEX statement cannot be understood")
			}
			return nil
		case ",":
			if depth == 1 {
				x.setTerm(n, sql, list[first:i])
				n, first = n+1, i+1
			}
		}
	}
	return errors.New("its CREATE INDEX statement has no column list")
}

// setTerm keeps the n-th term of the list if it is an expression, without
// the COLLATE and the direction that may stand at its end.
func (x *Index) setTerm(n int, sql string, term []token) {
	if n >= len(x.Columns) || x.Columns[n].Name != "" {
		return
	}
	if k := len(term); k > 1 && (strings.EqualFold(term[k-1].text, "ASC") || strings.EqualFold(term[k-1].text, "DESC")) {
		term = term[:k-1]
	}
	if k := len(term); k > 2 && strings.EqualFold(term[k-2].text, "COLLATE") {
		term = term[:k-2]
	}
	if len(term) > 0 {
		x.Columns[n].Expr = sql[term[0].start:term[len(term)-1].end]
	}
}

// condition returns what stands after WHERE in the rest of a CREATE INDEX.
func condition(sql string, rest []token) string {
	if len(rest) < 2 || !strings.EqualFold(rest[0].text, "WHERE") {
		return ""
	}
	return sql[rest[1].start:rest[len(rest)-1].end]
}
