//go:build kubelet

package kubelet

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/secret-sync/secret-sync/test/harness/nodetest"
)

const kubeletFolder = "/volume/db"

// TestSideBySide_latency mounts a Secret in a Pod through the kubelet's volume and through the
// sidecar. Each password is the time of its update.
func TestSideBySide_latency(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	now := func() string { return time.Now().UTC().Format(time.RFC3339Nano) }
	s.SetPassword(now())
	s.rbac()
	s.Apply([]byte(deployment), func(p *corev1.PodTemplateSpec) {
		secretVolume := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "db"}}
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "kubelet", VolumeSource: secretVolume})
		app := &p.Spec.Containers[0]
		app.VolumeMounts = append(app.VolumeMounts,
			corev1.VolumeMount{Name: "kubelet", MountPath: kubeletFolder, ReadOnly: true})
		nodetest.Set(app, "READER_FOLLOW", "/secrets/db,"+kubeletFolder)
	})
	nodetest.Until(t, "the start of the app", func() error { _, err := nodetest.Ask(s.Addresses["app"]); return err })
	latency := map[string][]time.Duration{}
	for i := range *updates {
		wait(time.Duration(i) * 1300 * time.Millisecond) // out of step with the kubelet
		put := now()
		s.SetPassword(put)
		for _, folder := range []string{"/secrets/db", kubeletFolder} {
			latency[folder] = append(latency[folder], s.latency(folder, put))
		}
		t.Logf("update %d: sidecar %s, kubelet %s", i+1, latency["/secrets/db"][i], latency[kubeletFolder][i])
	}
	if slices.Max(latency["/secrets/db"]) > slices.Min(latency[kubeletFolder]) {
		t.Errorf("the sidecar was not faster: %v", latency)
	}
	if *picture != "" {
		drawn := draw(latency["/secrets/db"], latency[kubeletFolder])
		if err := os.WriteFile(*picture, []byte(drawn), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// latency waits until this password was read, and returns the time since its update.
func (s *scene) latency(folder, put string) time.Duration {
	s.Helper()
	began, err := time.Parse(time.RFC3339Nano, put)
	if err != nil {
		s.Fatal(err)
	}
	var took time.Duration
	for deadline := time.Now().Add(3 * time.Minute); took == 0; wait(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("%s: unchanged after 3 minutes", folder)
		}
		a, err := nodetest.Ask(s.Addresses["app"])
		if err != nil {
			continue
		}
		for _, c := range a.Seen[folder] {
			if c.Password == put {
				took = c.At.Sub(began)
			}
		}
	}
	return took
}

// draw returns an SVG with two bars and their times per update.
func draw(sidecar, kubelet []time.Duration) string {
	const width, left, row = 640, 60, 34
	height := 64 + row*len(sidecar)
	scale := float64(width-left-90) / float64(slices.Max(kubelet))
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" `+
		`font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="12" y="22" font-size="14" font-weight="bold">`+
		`From the change of a Secret to the file in the app, one Pod, %d updates</text>`+"\n", len(sidecar))
	fmt.Fprintln(&b,
		`<rect x="12" y="34" width="12" height="12" fill="#1f6feb"/><text x="30" y="45">secret-sync</text>`)
	fmt.Fprintln(
		&b,
		`<rect x="122" y="34" width="12" height="12" fill="#a5c8ff"/><text x="140" y="45">the kubelet's Secret `+
			`volume</text>`,
	)
	for i := range sidecar {
		y := 58 + i*row
		fmt.Fprintf(&b, `<text x="12" y="%d" fill="#666">%d</text>`+"\n", y+18, i+1)
		for j, d := range []time.Duration{sidecar[i], kubelet[i]} {
			length := max(float64(d)*scale, 1)
			color := []string{"#1f6feb", "#a5c8ff"}[j]
			fmt.Fprintf(&b,
				`<rect x="%d" y="%d" width="%.1f" height="12" fill="%s"/><text x="%.1f" y="%d">%s</text>`+"\n",
				left, y+14*j, length, color, left+length+6, y+14*j+10, words(d))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func words(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
