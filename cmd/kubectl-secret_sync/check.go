package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check"
	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/access"
	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
)

// checkFlags are the flags of the command check.
type checkFlags struct {
	files            resource.FilenameOptions
	selector, format string
}

// newCheck returns the command check.
func newCheck(p *plugin) *cobra.Command {
	f := &checkFlags{}
	c := &cobra.Command{
		Use:   "check (-f FILE | -k FOLDER | TYPE/NAME ... | TYPE -l SELECTOR)",
		Short: "Report mistakes in the specs of workloads with secret-sync",
		Long: "Report mistakes in the specs of workloads with secret-sync.\n\n" +
			"The exit code is 1 if there are errors, and 0 if there are only warnings. For files, check reads\n" +
			"the objects in the files and contacts no cluster. For workloads of a cluster, it also checks the\n" +
			"Secrets, the permissions of the service account and the namespace. It keeps no value of a Secret.",
		Example: "  kubectl secret-sync check -f app.yaml -f rbac.yaml\n" +
			"  kubectl kustomize overlays/production | kubectl secret-sync check -f -\n" +
			"  kubectl secret-sync check deployment/app -n shop",
		RunE: func(c *cobra.Command, args []string) error { return p.check(c.Context(), f, args) },
	}
	flags := c.Flags()
	flags.StringSliceVarP(&f.files.Filenames, "filename", "f", nil,
		"files, folders or URLs to check; - is the standard input")
	flags.BoolVarP(&f.files.Recursive, "recursive", "R", false, "check the folders of -f and the folders below")
	flags.StringVarP(&f.files.Kustomize, "kustomize", "k", "", "a `folder` with a kustomization to check")
	flags.StringVarP(&f.selector, "selector", "l", "", "label selector for workloads of the cluster")
	flags.StringVarP(&f.format, "output", "o", "text", "text or json")
	return c
}

// check runs the command. Its error has no text if the report has errors.
func (p *plugin) check(ctx context.Context, f *checkFlags, args []string) error {
	if err := f.validate(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	input, err := p.checkInput(f, args)
	if err != nil {
		return err
	}
	report, err := check.Run(ctx, input)
	if err != nil {
		return err
	}
	if report.Workloads == 0 && len(report.Findings) == 0 {
		return fmt.Errorf("%w: no workload of the input runs secret-sync", errUsage)
	}
	write := report.WriteText
	if f.format == "json" {
		write = report.WriteJSON
	}
	if err := write(p.Out); err != nil {
		return err
	}
	if n := report.Errors(); n > 0 {
		return fmt.Errorf("check found errors: %d", n)
	}
	return nil
}

func (f *checkFlags) validate(args []string) error {
	files := len(f.files.Filenames) > 0 || f.files.Kustomize != ""
	isFile := func(arg string) bool {
		return arg == "-" || slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(arg))
	}
	if i := slices.IndexFunc(args, isFile); i >= 0 && !files {
		return fmt.Errorf("%q is no workload of the cluster: for a file, use -f %s", args[i], args[i])
	}
	switch {
	case f.format != "text" && f.format != "json":
		return fmt.Errorf("-o %q: must be text or json", f.format)
	case files && (len(args) > 0 || f.selector != ""):
		return fmt.Errorf("-f and -k exclude the names and the selector of workloads in a cluster")
	case !files && len(args) == 0:
		return fmt.Errorf("nothing to check: add -f FILE, -k FOLDER or a workload such as deployment/app")
	case len(f.files.Filenames) > 0 && f.files.Kustomize != "":
		return fmt.Errorf("-f and -k exclude each other")
	}
	return nil
}

// checkInput reads the objects to check.
func (p *plugin) checkInput(f *checkFlags, args []string) (input check.Input, err error) {
	builder := resource.NewBuilder(p.flags).Unstructured().ContinueOnError().Flatten()
	input.DefaultNamespace, _, err = p.flags.ToRawKubeConfigLoader().Namespace()
	var stdin []byte
	if len(args) == 0 {
		if err != nil {
			input.DefaultNamespace = "default"
		}
		if stdin, err = f.addFiles(builder.Local(), p.In); err != nil {
			return input, err
		}
	} else {
		if err != nil {
			return input, err
		}
		builder.NamespaceParam(input.DefaultNamespace).DefaultNamespace().LabelSelectorParam(f.selector).
			ResourceTypeOrNameArgs(true, args...).Latest()
		config, err := p.config()
		if err != nil {
			return input, err
		}
		if input.Cluster, err = access.NewAPIServer(config); err != nil {
			return input, err
		}
	}
	infos, err := builder.Do().Infos()
	if err != nil {
		text, _, _ := strings.Cut(err.Error(), " in '") // the text of an object follows, with its values
		return input, fmt.Errorf("read the workloads: %s", text)
	}
	input.Objects = manifest.Objects(infos, stdin)
	return input, nil
}

// addFiles adds the files to the builder. It reads the standard input itself, because check needs
// the text to find lines.
func (f *checkFlags) addFiles(builder *resource.Builder, in io.Reader) (stdin []byte, err error) {
	files := f.files
	files.Filenames = slices.DeleteFunc(slices.Clone(files.Filenames), func(name string) bool { return name == "-" })
	if len(files.Filenames) < len(f.files.Filenames) {
		if stdin, err = io.ReadAll(in); err != nil {
			return nil, err
		}
		builder.Stream(strings.NewReader(string(stdin)), manifest.Stdin)
	}
	if len(files.Filenames) > 0 || files.Kustomize != "" {
		builder.FilenameParam(false, &files)
	}
	return stdin, nil
}
