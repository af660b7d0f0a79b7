package importer

import (
	"fmt"
	"io"
	"slices"

	"caisseauto/internal/archive"
	"caisseauto/internal/change"
	"caisseauto/manifest"
)

// memberRows walks the members of a batch's archive, row by row, and refuses
// what the manifest does not say.
type memberRows struct {
	v        *verified
	archive  *archive.Reader
	member   *change.MemberReader // nil between two members
	at       int                  // index of the member in the manifest
	done     int64
	deletes  bool
	changed  map[string]bool // tables of which a row was more than a base
	progress func(int64)
	want     func(member int, h *change.Header) bool // nil: all
}

// fill is the source of a change.Pipe: the next rows, io.EOF after the last
// member and the last byte of the archive were found good.
func (r *memberRows) fill(b *change.Block) error {
	if r.archive == nil {
		if err := r.open(); err != nil {
			return err
		}
	}
	for {
		if r.member == nil {
			if err := r.next(); err != nil {
				return err // io.EOF too
			}
			if r.member == nil {
				continue // nobody wants its rows
			}
		}
		err := r.member.Fill(b)
		if err == io.EOF {
			if err := r.endMember(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", r.v.manifest.Members[r.at].Name, err)
		}
		r.done += int64(b.Rows())
		if r.progress != nil {
			r.progress(r.done)
		}
		return nil
	}
}

func (r *memberRows) open() error {
	if _, err := r.v.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	a, err := archive.NewReader(r.v.file, r.v.members, r.v.manifest.Archive.TarSize)
	if err != nil {
		return err
	}
	r.archive = a
	return nil
}

// next opens the next member and checks its first line. There is none to read
// from when its rows are not wanted.
func (r *memberRows) next() error {
	index, body, err := r.archive.Next()
	if err != nil {
		return err
	}
	r.at = index
	name := r.v.manifest.Members[index].Name
	m, err := change.NewMemberReader(body)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := r.allowed(m.Header(), r.v.manifest.Members[index].Table); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if r.want == nil || r.want(index, m.Header()) {
		r.member = m
	}
	return nil
}

// endMember counts the rows of the member that has ended.
func (r *memberRows) endMember() error {
	want := r.v.manifest.Members[r.at]
	if got := r.member.Rows(); got != want.Rows {
		return fmt.Errorf("%s: %d rows, the manifest says %d", want.Name, got, want.Rows)
	}
	r.member = nil
	return nil
}

// allowed holds a member's first line against the manifest's tables.
func (r *memberRows) allowed(h *change.Header, table string) error {
	if h.Table != table {
		return fmt.Errorf("rows of table %q, the manifest says %q", h.Table, table)
	}
	i := slices.IndexFunc(r.v.manifest.Tables, func(t manifest.Table) bool { return t.Name == table })
	if i < 0 {
		return fmt.Errorf("table %q is not in the manifest", table)
	}
	t := &r.v.manifest.Tables[i]
	if h.Op != change.Delete && r.deletes {
		return fmt.Errorf("%s rows after a delete", h.Op)
	}
	r.deletes = h.Op == change.Delete
	if h.Op == change.Base {
		if !manifest.IsUp(r.v.manifest.Stream) {
			return fmt.Errorf("a base of rows in table %q, which only a till sends", table)
		}
		if r.changed[table] {
			return fmt.Errorf("a base of rows in table %q after other rows of it", table)
		}
	} else {
		if r.changed == nil {
			r.changed = map[string]bool{}
		}
		r.changed[table] = true
	}
	switch h.Op {
	case change.Upsert, change.Base:
		if !slices.EqualFunc(h.Columns, t.Columns, func(n string, c manifest.Column) bool { return n == c.Name }) {
			return fmt.Errorf("%s rows of columns %q, the manifest says %q", h.Op, h.Columns, names(t.Columns))
		}
		return nil
	case change.Delete:
		if !slices.Equal(h.Columns, t.Key) {
			return fmt.Errorf("a delete by %q, the manifest says the key is %q", h.Columns, t.Key)
		}
		if t.Scope == manifest.Whole {
			return fmt.Errorf("a delete in table %q, which is whole", table)
		}
		return nil
	case change.Patch:
		return patchable(h, t)
	}
	return fmt.Errorf("unknown operation %q", h.Op)
}

// patchable checks the columns of a patch: the key, then some of the others,
// each once.
func patchable(h *change.Header, t *manifest.Table) error {
	if t.Scope == manifest.Whole {
		return fmt.Errorf("a patch in table %q, which is whole", t.Name)
	}
	if len(h.Columns) <= len(t.Key) || !slices.Equal(h.Columns[:len(t.Key)], t.Key) {
		return fmt.Errorf("a patch by %q, the manifest says the key is %q", h.Columns, t.Key)
	}
	known := names(t.Columns)
	for i, c := range h.Columns {
		if !slices.Contains(known, c) {
			return fmt.Errorf("a patch of column %q, which table %q does not have in the manifest", c, t.Name)
		}
		if slices.Contains(h.Columns[:i], c) {
			return fmt.Errorf("a patch that names column %q twice", c)
		}
	}
	return nil
}

func names(columns []manifest.Column) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.Name
	}
	return out
}
