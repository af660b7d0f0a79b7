package importer

import (
	"caisseauto/manifest"
)

// A Route is what to fetch so that a reader gets from where it stands to the
// newest batch with the fewest bytes.
type Route struct {
	From  int64          // the first batch whose archive is needed
	Skip  map[int64]bool // batches behind it whose archives are not
	Bytes int64          // of the archives that are needed
}

// Route plans by the manifests that are in the inbox already, verified, and by
// the numbers of the archives that there are where they are fetched from. A
// reader can go through every batch, where a baseline that is Unchanged costs
// nothing; or it begins at the newest baseline. It is only a plan: what is
// applied is decided in Run. Without any way From is the next batch, and Run
// says what is missing.
func (i *Importer) Route(pos Position, archives map[int64]bool) (Route, error) {
	box, err := i.list()
	if err != nil {
		return Route{}, err
	}
	through := Route{From: pos.Sequence + 1, Skip: map[int64]bool{}}
	begin := Route{}
	open := true // the way through every batch
	for n := pos.Sequence + 1; n <= box.newest(); n++ {
		m, _, err := i.signed(box, n)
		if err != nil {
			open = false
			continue
		}
		there := archives[n] || box[n].archive
		if m.Kind == manifest.Baseline && there {
			begin = Route{From: n, Skip: map[int64]bool{}, Bytes: m.Archive.Size}
		} else if begin.From > 0 {
			begin.add(m, i.records())
		}
		open = open && (there || m.Unchanged && i.records())
		through.add(m, i.records())
	}
	if begin.From == 0 || open && through.Bytes < begin.Bytes {
		return through, nil
	}
	return begin, nil
}

// add adds a batch that comes after another one.
func (r *Route) add(m *manifest.Manifest, records bool) {
	if m.Unchanged && records {
		r.Skip[m.Sequence] = true
		return
	}
	r.Bytes += m.Archive.Size
}
