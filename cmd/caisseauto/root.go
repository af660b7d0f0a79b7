package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// An app is one run of the program: where it reads and writes, and the flags
// that every command has.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	config    string
	dossier   string
	logFormat string
	keyKind   string // of keys that init makes
	verbose   bool
	json      bool
	medium    string // folder in place of the configured drop: --from, --to
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "caisseauto",
		Short: "Signed exchange between a server and autonomous tills, over SFTP",
		Long: `caisseauto carries reference data from a server's database to autonomous tills,
and what the tills sell back to it, as signed, numbered archives in plain
folders, and applies each in one transaction. First look: caisseauto demo`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.logFormat != "" && a.logFormat != logText && a.logFormat != logJSON {
				return &usageError{fmt.Errorf("--log %s: write text or json", a.logFormat)}
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
	})
	f := root.PersistentFlags()
	f.StringVar(&a.config, "config", "", "configuration `FILE` (default: server.toml, till.toml or release.toml in this folder)")
	f.StringVar(&a.dossier, "dossier", "", "`CODE` of the dossier, where the configuration has several")
	f.StringVar(&a.logFormat, "log", "", "log an event for each batch on stderr, in this `FORMAT`: text or json")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log each step")
	f.BoolVar(&a.json, "json", false, "print the result as JSON")
	root.AddCommand(a.demoCommand(), a.initCommand(), a.exportCommand(), a.importCommand(), a.publishCommand(), a.updateCommand(),
		a.syncCommand(), a.collectCommand(), a.statusCommand(), a.quarantineCommand(), a.proveCommand(), a.verifyCommand(), a.inspectCommand(), a.findCommand(), a.keysCommand(), a.trustCommand(),
		a.shipCommand(), a.fetchCommand(), a.serveCommand(), a.runCommand(), a.doctorCommand())
	for _, c := range root.Commands() {
		usageArgs(c)
	}
	return root
}

// version is what the Go command recorded when it built the program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version + " " + info.GoVersion
}

// usageArgs makes surplus arguments a usage error, for c and what is below it.
// A command whose usage names arguments checks them itself.
func usageArgs(c *cobra.Command) {
	c.Args = cobra.ArbitraryArgs
	if !strings.Contains(c.Use, " ") {
		c.Args = noArgs
	}
	for _, sub := range c.Commands() {
		usageArgs(sub)
	}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("%s takes no argument %q; see: %s --help", c.CommandPath(), args[0], c.CommandPath())}
	}
	return nil
}

// printf writes a line of the result.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }
