package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
)

// charts lists the charts below examples/helm.
var charts = []string{"secret-sync", "app"}

// writeCharts packages each chart of the filled-in manifests, as `helm package` does.
func writeCharts(o options) error {
	for _, name := range charts {
		c, err := loader.LoadDir(filepath.Join(o.out, "manifests", "helm", name))
		if err != nil {
			return fmt.Errorf("load chart %s: %w", name, err)
		}
		setTimes(c, o.created)
		if _, err := chartutil.Save(c, filepath.Join(o.out, "charts")); err != nil {
			return fmt.Errorf("package chart %s: %w", name, err)
		}
	}
	return nil
}

// setTimes sets the time of every file in a chart. Save would write the times on disk.
func setTimes(c *chart.Chart, t time.Time) {
	c.ModTime, c.SchemaModTime = t, t
	for _, file := range slices.Concat(c.Raw, c.Templates, c.Files) {
		file.ModTime = t
	}
	for _, dependency := range c.Dependencies() {
		setTimes(dependency, t)
	}
}

// chartFile returns the path of a packaged chart.
func (o options) chartFile(name string) string {
	return filepath.Join(o.out, "charts", name+"-"+o.chartVersion()+".tgz")
}

// chartVersion returns the version without v, which is not part of a semantic version.
func (o options) chartVersion() string { return strings.TrimPrefix(o.version, "v") }
