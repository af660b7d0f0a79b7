package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"caisseauto/internal/config"
)

// A mistake is named with its place and its cure.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "till.toml")
	text := "[till]\nnumber = \"017\"\ndosier = \"ACME\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		panic(err)
	}
	_, err = config.LoadTill(path)
	var e *config.Error
	if errors.As(err, &e) {
		fmt.Println(e.Line, e.Key)
		fmt.Println(e.Problem)
		fmt.Println(e.Hint)
	}
	// Output:
	// 3 till.dosier
	// unknown key
	// did you mean "dossier"?
}
