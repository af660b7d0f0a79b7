package sqlite

import (
	"path/filepath"
	"testing"

	"caisseauto/internal/change"
)

// TestStageFolder: the folder of a configuration that nobody has made yet is
// made when a large batch needs it.
func TestStageFolder(t *testing.T) {
	s := newStage(filepath.Join(t.TempDir(), "stage"), 4096, applyLimits{stageBytes: 1, stageKeys: 1})
	defer s.close()
	h := &change.Header{Table: "t", Op: change.Upsert, Columns: []string{"a"}}
	if err := s.add(h, []change.Value{{Kind: change.Integer, Int: 7}}); err != nil {
		t.Fatal(err)
	}
	if err := s.rewind(); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Next(); err != nil || b.Rows() != 1 {
		t.Errorf("%v", err)
	}
}
