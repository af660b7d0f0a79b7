package release

func pointTo(name, target string) error    { return noteTo(name, target) }
func pointsTo(name string) (string, error) { return noteTarget(name) }
func unpoint(name string) error            { return unnote(name) }
