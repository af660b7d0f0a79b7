package main

import (
	"context"
	"fmt"

	"caisseauto/importer"
	"caisseauto/internal/drop"
	"caisseauto/keys"
)

// streamSchema returns what the signed manifests on a drop say of a stream's
// tables: those of the newest baseline, each as the newest batch since then
// describes it.
func streamSchema(ctx context.Context, d drop.Drop, stream string, trust *keys.Trust) (*importer.Manifest, error) {
	r, err := remoteHead(ctx, d, stream, trust)
	if err != nil {
		return nil, err
	}
	if r.head == nil {
		return nil, fmt.Errorf("%w: there is no head of %s on the drop: the server has exported nothing of this dossier yet, or its code is another; no table was made", drop.ErrUnavailable, stream)
	}
	var all *importer.Manifest
	for n := r.head.Baseline; n <= r.head.Sequence; n++ {
		doc, sig, err := drop.ReadPair(ctx, d, stream+"/"+importer.ManifestName(n))
		if err != nil {
			return nil, fmt.Errorf("the manifest of batch %d of %s: %w; no table was made", n, stream, err)
		}
		m, err := importer.OpenManifest(stream, n, doc, sig, trust)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = m
			continue
		}
		renew(all, m)
	}
	return all, nil
}

// renew replaces in all what a later batch describes otherwise.
func renew(all, later *importer.Manifest) {
	for _, t := range later.Tables {
		found := false
		for i := range all.Tables {
			if all.Tables[i].Name == t.Name {
				all.Tables[i], found = t, true
			}
		}
		if !found {
			all.Tables = append(all.Tables, t)
		}
	}
	if len(later.Uploads) > 0 {
		all.Uploads = later.Uploads
	}
}
