package manifest

import "slices"

// maxUploads bounds the tables that tills are asked for.
const maxUploads = 1000

// checkUploads holds what the server wants of its tills, which stands in the
// stream down alone.
func checkUploads(m *Manifest) *Refusal {
	switch {
	case IsUp(m.Stream) && (m.Integrated != 0 || len(m.Uploads) > 0):
		return refuse("M12", "integrated and uploads stand in streams down alone")
	case m.Integrated < 0 || m.Integrated > maxInteger:
		return refuse("D6", "integrated %d is out of range", m.Integrated)
	case len(m.Uploads) > maxUploads:
		return refuse("M13", "%d uploads, more than %d", len(m.Uploads), maxUploads)
	}
	at := make(map[string]*Upload, len(m.Uploads))
	for i := range m.Uploads {
		u := &m.Uploads[i]
		if at[u.Table] != nil {
			return refuse("M13", "upload of %s is listed twice", u.Table)
		}
		at[u.Table] = u
		if r := checkUpload(u); r != nil {
			return r
		}
	}
	for i := range m.Uploads {
		if r := checkParents(&m.Uploads[i], at); r != nil {
			return r
		}
	}
	return nil
}

func checkUpload(u *Upload) *Refusal {
	switch {
	case !validName(u.Table):
		return refuse("M13", "upload: %q cannot be a table's name", u.Table)
	case u.Mode != Append && u.Mode != Replace && u.Mode != Both:
		return refuse("M13", "upload of %s: mode %q is not append, replace or both", u.Table, u.Mode)
	case len(u.Key) == 0 || !validNames(u.Key):
		return refuse("M13", "upload of %s: no key, or one that is not of different columns", u.Table)
	case !validType(u.Dossier) || !validType(u.Till) || !validType(u.Number):
		return refuse("M13", "upload of %s: dossier_column, till_column or number_column cannot be a column's name", u.Table)
	case !validNames(u.Sums):
		return refuse("M13", "upload of %s: sums are not of different columns", u.Table)
	case !validNames(u.Exclude) || slices.ContainsFunc(u.Exclude, func(c string) bool { return slices.Contains(u.Key, c) }):
		return refuse("M13", "upload of %s: exclude is not of different columns beside the key", u.Table)
	case (u.Parent == "") != (len(u.Link) == 0) || !validNames(u.Link):
		return refuse("M13", "upload of %s: parent and parent_columns do not belong together", u.Table)
	}
	return checkUploadColumns(u)
}

// checkUploadColumns holds the columns of an upload against all else that it
// names.
func checkUploadColumns(u *Upload) *Refusal {
	columns := make(map[string]bool, len(u.Columns))
	for _, c := range u.Columns {
		if !validName(c.Name) || !validType(c.Type) || columns[c.Name] {
			return refuse("M13", "upload of %s: column %q has no proper name or type, or stands there twice", u.Table, c.Name)
		}
		columns[c.Name] = true
	}
	for _, needed := range slices.Concat(u.Key, u.Sums, u.Link, []string{u.Dossier, u.Till, u.Number}) {
		if needed != "" && !columns[needed] {
			return refuse("M13", "upload of %s: %q is in its key, its sums or another of its settings, but is none of its columns", u.Table, needed)
		}
	}
	for _, name := range u.Exclude {
		if columns[name] {
			return refuse("M13", "upload of %s: column %q is both sent and excluded", u.Table, name)
		}
	}
	return nil
}

// checkParents follows the parents of u up: every one is sent too, and has a
// key of as many columns as link to it, and none is its own ancestor.
func checkParents(u *Upload, at map[string]*Upload) *Refusal {
	for steps := 0; u.Parent != ""; steps++ {
		parent := at[u.Parent]
		switch {
		case parent == nil:
			return refuse("M13", "upload of %s: its parent %s is not sent", u.Table, u.Parent)
		case len(parent.Key) != len(u.Link):
			return refuse("M13", "upload of %s: %d parent_columns, but the key of %s has %d", u.Table, len(u.Link), u.Parent, len(parent.Key))
		case steps >= len(at):
			return refuse("M13", "upload of %s: its parents lead in a circle", u.Table)
		}
		u = parent
	}
	return nil
}

// validNames reports whether names can be those of columns, each once.
func validNames(names []string) bool {
	for i, n := range names {
		if !validName(n) || slices.Contains(names[:i], n) {
			return false
		}
	}
	return true
}

// checkTill holds what a till says in its batches beside the rows.
func checkTill(m *Manifest) *Refusal {
	if !IsUp(m.Stream) {
		if len(m.Totals) > 0 || m.Applied != nil || m.Incarnation != "" {
			return refuse("M12", "totals, applied and incarnation stand in streams up alone")
		}
		return nil
	}
	if !isIncarnation(m.Incarnation) {
		return refuse("M12", "incarnation is not 32 lower-case hex digits")
	}
	if r := checkTotals(m.Totals); r != nil {
		return r
	}
	at := 0
	for _, t := range m.Totals {
		for at < len(m.Tables) && m.Tables[at].Name != t.Table {
			at++
		}
		if at == len(m.Tables) {
			return refuse("M14", "totals of %s: not one of the tables, or not in their order", t.Table)
		}
	}
	if m.Applied != nil {
		return checkApplied(m.Applied, m.Stream)
	}
	return nil
}

// checkApplied holds the place that the till of stream says it has applied of
// the stream down.
func checkApplied(p *StreamPosition, stream string) *Refusal {
	switch {
	case p.Stream != StreamDown(dossierOf(stream)):
		return refuse("M15", "applied: %q is not the stream down of this dossier", p.Stream)
	case !inRange(p.Epoch, maxInteger) || !inRange(p.Sequence, MaxSequence):
		return refuse("D6", "applied: epoch %d or sequence %d is out of range", p.Epoch, p.Sequence)
	case !isDigest(p.Digest) || p.Digest == noPrevious:
		return refuse("D7", "applied: manifest_sha256 is not the digest of a manifest")
	}
	return nil
}

func isIncarnation(s string) bool { return len(s) == 32 && isDigest(s+s) }

// checkTotals holds control totals against their one form.
func checkTotals(totals []Total) *Refusal {
	seen := make(map[string]bool, len(totals))
	for _, t := range totals {
		switch {
		case !validName(t.Table) || seen[t.Table]:
			return refuse("M14", "totals of %q: no table's name, or there twice", t.Table)
		case !isCount(t.Rows):
			return refuse("M14", "totals of %s: rows %q is not a count", t.Table, t.Rows)
		}
		seen[t.Table] = true
		columns := make(map[string]bool, len(t.Sums))
		for _, s := range t.Sums {
			if !validName(s.Column) || columns[s.Column] || !isDecimal(s.Sum) {
				return refuse("M14", "totals of %s: the sum %q of column %q is not in its one form, or there twice", t.Table, Clip(s.Sum, 40), s.Column)
			}
			columns[s.Column] = true
		}
		if len(t.Numbers) > MaxPieces {
			return refuse("M14", "totals of %s: numbers in %d pieces, more than %d", t.Table, len(t.Numbers), MaxPieces)
		}
		if _, err := ParseRanges(t.Numbers); err != nil {
			return refuse("M14", "totals of %s: numbers: %v", t.Table, err)
		}
	}
	return nil
}
