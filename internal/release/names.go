package release

import "caisseauto/manifest"

// The commands speak of packages in these words; package manifest has the rest.
type (
	Requirement = manifest.Requirement
	Probe       = manifest.Probe
	Rollback    = manifest.Rollback
	Update      = manifest.Update
	Software    = manifest.Software
)

// DefaultProbeSeconds is how long a probe may take when nothing else is said.
const DefaultProbeSeconds = 30

// ValidProduct reports whether s can be a product's name.
func ValidProduct(s string) bool { return manifest.ValidProduct(s) }
