// Package config reads server.toml, till.toml and release.toml, the
// configuration files of caisseauto, and writes the first one that "init"
// makes.
//
// A file is read strictly. A key that is not known, a value of the wrong
// type, a direction that is none: each is an [*Error] that names the file, the
// line and the key, and says what to write instead. So that a mistake shows
// when it is made, everything that can be judged without looking at a
// database or a network is judged by [LoadServer], [LoadTill] and [LoadRelease]; what is
// needed by some commands only (a drop, a signing key) is asked for by them
// with [Common.NeedDrop] and its sisters.
//
//	cfg, err := config.LoadTill("till.toml")
//	if err != nil {
//		return err // a *config.Error; exit code 2
//	}
//	if err := cfg.NeedDrop(); err != nil {
//		return err // the same type, naming the key that is missing
//	}
//
// Relative paths are relative to the file they stand in, also inside
// "file:PATH", and are absolute after loading. Secrets are never in a file: a
// password in an address is refused.
package config
