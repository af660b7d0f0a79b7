package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// A folder is what is to become a package.
type folder struct {
	name  string
	root  *os.Root
	files []manifest.File // sorted; without digests
	empty []string        // folders without a file in them, which no package carries
}

// openFolder lists the regular files of a folder, of which no other kind may be
// there: what a link points to, a device or a socket means nothing on a till.
func openFolder(name, goos string) (*folder, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("the folder to publish: %w; nothing was published", err)
	}
	f := &folder{name: name, root: root}
	if err := f.list(goos); err != nil {
		root.Close()
		return nil, fmt.Errorf("%s: %w; nothing was published", name, err)
	}
	return f, nil
}

func (f *folder) close() { f.root.Close() }

func (f *folder) list(goos string) error {
	full := map[string]bool{}
	var dirs []string
	err := fs.WalkDir(f.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case d.IsDir():
			dirs = append(dirs, name)
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		file, err := fileOf(name, info, goos)
		if err != nil {
			return err
		}
		f.files = append(f.files, file)
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			full[dir] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if !full[dir] {
			f.empty = append(f.empty, dir)
		}
	}
	if len(f.files) == 0 {
		return errors.New("there is no file in it")
	}
	manifest.SortFiles(f.files)
	return manifest.CheckTree(f.files)
}

// fileOf describes one file of the folder.
func fileOf(name string, info fs.FileInfo, goos string) (manifest.File, error) {
	if !info.Mode().IsRegular() {
		return manifest.File{}, fmt.Errorf("%s is no regular file (%s); packages carry nothing else: take it out, or put what it leads to in its place", name, info.Mode().Type())
	}
	if special := info.Mode() & (fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky); special != 0 {
		return manifest.File{}, fmt.Errorf("%s has the mode %s; packages carry no setuid, setgid or sticky files: chmod -s,-t it", name, info.Mode())
	}
	if err := manifest.CheckFileName(name); err != nil {
		return manifest.File{}, err
	}
	mode := manifest.ModeData
	if info.Mode()&0o100 != 0 || goos == "windows" && isWindowsProgram(name) {
		mode = manifest.ModeProgram
	}
	return manifest.File{Name: name, Mode: mode, Size: info.Size()}, nil
}

// isWindowsProgram: what Windows runs by its name, which has no modes.
func isWindowsProgram(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".exe", ".com", ".bat", ".cmd":
		return true
	}
	return false
}

// open opens the file that was listed, as long as it is a regular one still.
func (f *folder) open(name string) (*os.File, error) {
	return durable.In(f.root).OpenRegular(name)
}
