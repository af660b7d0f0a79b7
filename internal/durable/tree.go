package durable

import (
	"io/fs"
	"os"
)

// A Tree is where the functions of this package work. The zero Tree takes
// paths as the os package does; [In] confines them to an [os.Root].
type Tree struct {
	sys system
}

// system is the part of the operating system that a Tree needs. *os.Root has
// all of it, and so has the os package (osSystem).
type system interface {
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
	Lstat(name string) (fs.FileInfo, error)
	Mkdir(name string, perm fs.FileMode) error
	Link(oldname, newname string) error
	Rename(oldname, newname string) error
	Remove(name string) error
}

// In returns the tree below root. Its methods take paths relative to root,
// with slashes, and nothing they do reaches outside. The tree does not own
// root: closing it stays with the caller.
func In(root *os.Root) Tree { return Tree{sys: root} }

func (t Tree) system() system {
	if t.sys == nil {
		return osSystem{}
	}
	return t.sys
}

// osSystem is the os package as a system.
type osSystem struct{}

func (osSystem) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}
func (osSystem) Lstat(name string) (fs.FileInfo, error)    { return os.Lstat(name) }
func (osSystem) Mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }
func (osSystem) Link(oldname, newname string) error        { return os.Link(oldname, newname) }
func (osSystem) Rename(oldname, newname string) error      { return os.Rename(oldname, newname) }
func (osSystem) Remove(name string) error                  { return os.Remove(name) }

// WriteFile is [Tree.WriteFile] with a path of the operating system.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return Tree{}.WriteFile(path, data, perm)
}

// Create is [Tree.Create] with a path of the operating system.
func Create(path string, data []byte, perm fs.FileMode) error {
	return Tree{}.Create(path, data, perm)
}

// Publish is [Tree.Publish] with paths of the operating system.
func Publish(tmp, final string) error { return Tree{}.Publish(tmp, final) }

// SyncDir is [Tree.SyncDir] with a path of the operating system.
func SyncDir(path string) error { return Tree{}.SyncDir(path) }

// MkdirAll is [Tree.MkdirAll] with a path of the operating system.
func MkdirAll(path string, perm fs.FileMode) error { return Tree{}.MkdirAll(path, perm) }
