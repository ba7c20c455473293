// Package helmchart renders charts with the packages of Helm.
package helmchart

import (
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
)

// Template returns the output of `helm template app FOLDER --namespace NAMESPACE` with
// these values. The error comes from the chart's schema or from a template.
func Template(folder, namespace string, values map[string]any) ([]byte, error) {
	chart, err := loader.LoadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("load chart %s: %w", folder, err)
	}
	if err := chartutil.ProcessDependencies(chart, values); err != nil {
		return nil, fmt.Errorf("chart %s: %w", folder, err)
	}
	release := common.ReleaseOptions{Name: "app", Namespace: namespace, IsInstall: true}
	renderValues, err := commonutil.ToRenderValues(chart, values, release, common.DefaultCapabilities)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", folder, err)
	}
	files, err := engine.Render(chart, renderValues)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", folder, err)
	}
	var manifest []string
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") {
			manifest = append(manifest, text)
		}
	}
	slices.Sort(manifest)
	return []byte(strings.Join(manifest, "\n---\n")), nil
}
