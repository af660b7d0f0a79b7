package config

import (
	"strings"
	"time"
)

// DefaultJET returns the journal of technical events as the schema of the
// manual has it, and the codes that are written unless others are chosen.
func DefaultJET() *JET {
	return &JET{
		Table: "jet", Dossier: "dossier", Till: "caisse", Number: "numero", Time: "horodatage",
		Code: "code", User: "utilisateur", Text: "libelle", Data: "donnees",
		Codes: JETCodes{Offline: "HORS_LIGNE", Online: "EN_LIGNE", Load: "CHARGEMENT", Purge: "PURGE", Refused: "REFUS", Update: "MISE_A_JOUR"},
	}
}

// Any reports whether any event is written.
func (c JETCodes) Any() bool { return c != JETCodes{} }

// A word is one key of a table, its value and what that is by default.
type word struct {
	key   string
	value *string
	def   string
}

func (c *checker) jet(j *JET) {
	if j == nil {
		return
	}
	def := DefaultJET()
	columns := []word{
		{"dossier", &j.Dossier, def.Dossier}, {"till", &j.Till, def.Till}, {"number", &j.Number, def.Number}, {"time", &j.Time, def.Time},
		{"code", &j.Code, def.Code}, {"user", &j.User, def.User}, {"text", &j.Text, def.Text}, {"data", &j.Data, def.Data},
	}
	c.name("jet.table", j.Table, false)
	if j.Table == "" {
		j.Table = def.Table
	}
	seen := map[string]string{}
	for _, w := range columns {
		if c.name("jet."+w.key, *w.value, false); *w.value == "" {
			*w.value = w.def
		}
		c.unique(seen, "jet."+w.key, *w.value, "column")
	}
	for _, w := range []word{
		{"offline", &j.Codes.Offline, def.Codes.Offline}, {"online", &j.Codes.Online, def.Codes.Online}, {"load", &j.Codes.Load, def.Codes.Load},
		{"purge", &j.Codes.Purge, def.Codes.Purge}, {"refused", &j.Codes.Refused, def.Codes.Refused}, {"update", &j.Codes.Update, def.Codes.Update},
	} {
		path := "jet.codes." + w.key
		if !c.given(path) {
			*w.value = w.def
		}
		if strings.ContainsFunc(*w.value, isControl) {
			c.fail(path, "write the code as the journal shows it", "control characters in a code")
		}
	}
	if !j.Codes.Any() {
		c.fail("jet.codes", "take [jet] out, or give one of them a code", "no event has a code, so that none would be written")
	}
}

func (c *checker) sync(s *Sync) {
	switch d := &s.MaxBackoff.Duration; {
	case *d == 0:
		*d = 5 * time.Minute
	case *d < time.Second:
		c.fail("sync.max_backoff", `write "1s" or more`, "%s is too short", s.MaxBackoff)
	}
}
