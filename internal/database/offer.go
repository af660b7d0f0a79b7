package database

import (
	"encoding/json"

	"caisseauto/manifest"
)

// Offer adds to a batch of a stream down what its tills are to send: in every
// baseline, and when that is another than in the last batch. Last is what Offer
// returned then, a digest of it; "" stands for nothing.
func Offer(x *manifest.Extract, list []*Upload, last string) (print string, err error) {
	uploads := make([]manifest.Upload, 0, len(list))
	for _, u := range list {
		uploads = append(uploads, u.Upload)
	}
	if len(uploads) > 0 {
		text, err := json.Marshal(uploads)
		if err != nil {
			return "", err
		}
		print = Fingerprint(string(text))
	}
	if x.Kind == manifest.Baseline || print != last {
		x.Uploads = uploads
	}
	return print, nil
}
