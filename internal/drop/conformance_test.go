package drop_test

import (
	"testing"

	"caisseauto/internal/drop"
	"caisseauto/internal/drop/droptest"
)

func TestConformance(t *testing.T) {
	droptest.Run(t, func(t *testing.T) droptest.Fixture {
		root := t.TempDir()
		open := func(t *testing.T) drop.Drop {
			d, err := drop.OpenLocal(root)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		return droptest.Fixture{Drop: open(t), Reopen: open, Raw: root}
	})
}
