package status

import (
	"time"

	"caisseauto/internal/term"
)

// seconds says a length of time as people do. Statements have whole seconds.
func seconds(s float64) string {
	if s < 1 {
		return "0 s"
	}
	return term.Duration(time.Duration(s) * time.Second)
}
