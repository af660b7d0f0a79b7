//go:build unix

package release

func pointTo(name, target string) error    { return linkTo(name, target) }
func pointsTo(name string) (string, error) { return linkTarget(name) }
func unpoint(name string) error            { return unlink(name) }
