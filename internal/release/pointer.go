package release

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"caisseauto/internal/durable"
)

// A pointer leads from a fixed name to the release that runs: a symbolic link
// where every program can make one, else a file that holds the path. Windows
// needs a privilege for links, and a junction cannot be replaced in one step; a
// file can. What starts the program there reads it first.

// linkTo makes name a symbolic link to target, in one step.
func linkTo(name, target string) error { return durable.Point(name, target) }

func linkTarget(name string) (string, error) {
	fi, err := os.Lstat(name)
	if err != nil {
		return "", err
	}
	if fi.Mode()&fs.ModeSymlink == 0 {
		return "", fmt.Errorf("%s is no link (%s); move it away", name, fi.Mode().Type())
	}
	return os.Readlink(name)
}

func unlink(name string) error { return durable.Unpoint(name) }

// maxPointer is more than any path of ours.
const maxPointer = 4096

// noteTo writes target into the file name, in one step.
func noteTo(name, target string) error {
	return durable.WriteFile(name, []byte(strings.ReplaceAll(target, "/", `\`)+"\r\n"), 0o644)
}

func noteTarget(name string) (string, error) {
	f, err := durable.Tree{}.OpenRegular(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPointer))
	return strings.TrimRight(string(data), "\r\n"), err
}

func unnote(name string) error { return durable.Tree{}.Remove(name) }
