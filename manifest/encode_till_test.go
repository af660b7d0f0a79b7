package manifest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/manifest"
)

// The encoding of what a till says of itself, to the byte.
func TestEncodeTillHead(t *testing.T) {
	w := newWorld(t)
	h := tillHead()
	h.Till = &manifest.TillState{Incarnation: incarnation}
	want := `  "expires": "2026-03-02T12:00:00Z",
  "incarnation": "` + incarnation + `",
  "host": "",
  "version": "",
  "waiting": 0,
  "free_bytes": 0,
  "alarms": []
}
`
	doc := encodeHead(t, h)
	if !strings.HasSuffix(string(doc), want) {
		t.Errorf("%s", doc)
	}
	for _, h := range []*manifest.Head{h, tillHead()} {
		got, err := w.openHead(t, w.till17, encodeHead(t, h))
		if err != nil {
			t.Fatal(err)
		}
		if h.Till.Alarms == nil {
			h.Till.Alarms = []string{}
		}
		if d := cmp.Diff(h, got); d != "" {
			t.Error(d)
		}
	}
}

func TestEncodeReceipt(t *testing.T) {
	w := newWorld(t)
	r := receipt()
	r.Totals[1].Sums, r.Totals[1].Numbers = []manifest.Sum{}, []string{}
	got, err := w.openReceipt(t, w.server, encodeReceipt(t, r))
	if d := cmp.Diff(r, got); d != "" || err != nil {
		t.Error(d, err)
	}
	r.Totals, r.Held, r.Integrated, r.Waiting, r.Discarded = nil, nil, 0, 0, 0
	doc := string(encodeReceipt(t, r))
	want := "  \"integrated\": 0,\n  \"totals\": [],\n  \"quarantine\": 0,\n  \"discarded\": 0,\n  \"held\": []\n}\n"
	if !strings.HasSuffix(doc, want) || r.Held != nil {
		t.Errorf("%s", doc)
	}
}

// What a till may leave out, and the ends of each range.
func TestEncodeOfATillRefuses(t *testing.T) {
	const beyond = 1 << 53
	encodeHead := func(spoil func(*manifest.TillState)) error {
		h := tillHead()
		spoil(h.Till)
		_, err := manifest.EncodeHead(h)
		return err
	}
	for name, c := range map[string]struct {
		spoil func(*manifest.TillState)
		rule  string
	}{
		"waiting beyond":     {func(s *manifest.TillState) { s.Waiting = beyond }, "H8"},
		"free bytes less":    {func(s *manifest.TillState) { s.FreeBytes = -1 }, "H8"},
		"alarm not UTF-8":    {func(s *manifest.TillState) { s.Alarms[0] = "\xff" }, "H8"},
		"version too long":   {func(s *manifest.TillState) { s.Version = strings.Repeat("v", manifest.MaxWords+1) }, "H8"},
		"oldest in a zone":   {func(s *manifest.TillState) { s.OldestWaiting = noon.In(time.FixedZone("CET", 3600)) }, "D8"},
		"applied not a hash": {func(s *manifest.TillState) { s.Applied.Digest = "x" }, "D7"},
		"applied too high":   {func(s *manifest.TillState) { s.Applied.Epoch = beyond }, "D6"},
	} {
		t.Run("head, "+name, func(t *testing.T) { wantRule(t, encodeHead(c.spoil), c.rule, "head") })
	}
	if err := encodeHead(func(s *manifest.TillState) {
		*s = manifest.TillState{Incarnation: incarnation, Waiting: beyond - 1, FreeBytes: beyond - 1}
	}); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		spoil func(*manifest.Receipt)
		rule  string
	}{
		"signed by a till":    {func(r *manifest.Receipt) { r.Signer = "till-017@acme" }, "S6"},
		"signed by nobody":    {func(r *manifest.Receipt) { r.Signer = "server" }, "S6"},
		"integrated beyond":   {func(r *manifest.Receipt) { r.Integrated = beyond }, "D6"},
		"digest is none":      {func(r *manifest.Receipt) { r.Digest = "" }, "D7"},
		"quarantine beyond":   {func(r *manifest.Receipt) { r.Waiting = beyond }, "C2"},
		"discarded less":      {func(r *manifest.Receipt) { r.Discarded = -1 }, "C2"},
		"too many units":      {func(r *manifest.Receipt) { r.Held = make([]manifest.Held, manifest.MaxHeld+1) }, "C3"},
		"unit rows less":      {func(r *manifest.Receipt) { r.Held[0].Rows = -1 }, "C3"},
		"unit rows beyond":    {func(r *manifest.Receipt) { r.Held[0].Rows = beyond }, "C3"},
		"unit table":          {func(r *manifest.Receipt) { r.Held[0].Table = "a\x00" }, "C3"},
		"unit key not UTF-8":  {func(r *manifest.Receipt) { r.Held[0].Key = "\xff" }, "C3"},
		"unit closed in code": {func(r *manifest.Receipt) { r.Held[1].Closed = "\x1b" }, "C3"},
		"totals of nothing":   {func(r *manifest.Receipt) { r.Totals[0].Table = "" }, "M14"},
		"totals twice":        {func(r *manifest.Receipt) { r.Totals[1].Table = r.Totals[0].Table }, "M14"},
		"totals in pieces": {func(r *manifest.Receipt) {
			var many manifest.Ranges
			for n := range int64(manifest.MaxPieces + 1) {
				many.Add(2*n, 2*n)
			}
			r.Totals[0].Numbers = manifest.FormatRanges(many)
		}, "M14"},
	} {
		t.Run("receipt, "+name, func(t *testing.T) {
			r := receipt()
			for i := range r.Held {
				r.Held[i].Sequence = 1
			}
			c.spoil(r)
			for i := range r.Held {
				if r.Held[i].Sequence == 0 {
					r.Held[i] = manifest.Held{Sequence: 1, Reason: "x"}
				}
			}
			_, err := manifest.EncodeReceipt(r)
			wantRule(t, err, c.rule, "receipt")
		})
	}
	// A till that signs its own receipt, in a world that lets it.
	w := newWorld(t)
	own := strings.Replace(string(encodeReceipt(t, receipt())), `"server@acme"`, `"till-017@acme"`, 1)
	_, err := w.openReceipt(t, w.till17, []byte(own))
	wantRule(t, err, "S6", "017.json")
}
