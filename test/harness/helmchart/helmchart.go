// Package helmchart renders charts with Helm's own packages.
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

// Template is what `helm template app FOLDER --namespace NAMESPACE` prints with these
// values. Its error is that of the schema or of a template.
func Template(folder, namespace string, values map[string]any) ([]byte, error) {
	chart, err := loader.LoadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("load chart %s: %w", folder, err)
	}
	if err := chartutil.ProcessDependencies(chart, values); err != nil {
		return nil, fmt.Errorf("chart %s: %w", folder, err)
	}
	release := common.ReleaseOptions{Name: "app", Namespace: namespace, IsInstall: true}
	all, err := commonutil.ToRenderValues(chart, values, release, common.DefaultCapabilities)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", folder, err)
	}
	files, err := engine.Render(chart, all)
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
