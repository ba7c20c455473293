package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	helm "helm.sh/helm/v4/pkg/registry"

	"github.com/secret-sync/secret-sync/test/harness/helmchart"
)

// startRegistry starts a registry that requires the credentials of `docker login`, and
// returns its address.
func startRegistry(t *testing.T) string {
	t.Helper()
	handler := registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host := server.Listener.Addr().String()
	dir := t.TempDir()
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, base64.StdEncoding.EncodeToString([]byte("me:secret")))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("HELM_CONFIG_HOME", t.TempDir())
	return host
}

var keychain = remote.WithAuthFromKeychain(authn.DefaultKeychain)

// checkPush pushes a release twice and pulls every part back.
func checkPush(t *testing.T, o, again options) {
	var first, second bytes.Buffer
	if err := push(t.Context(), o, &first); err != nil {
		t.Fatal(err)
	}
	if err := push(t.Context(), again, &second); err != nil {
		t.Fatal(err)
	}
	if first.String() != second.String() {
		t.Errorf("the second push has other digests: got\n%s\nwant\n%s", second.String(), first.String())
	}
	lines := strings.Fields(first.String())
	if want := 1 + 2*len(architectures) + len(charts); len(lines) != want {
		t.Errorf("got %d artifacts, want %d:\n%s", len(lines), want, first.String())
	}
	for _, line := range lines {
		ref, err := name.NewDigest(line)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := remote.Get(ref, keychain); err != nil {
			t.Errorf("pull %s: %v", line, err)
		}
	}
	checkPulledImage(t, o)
	for _, chart := range charts {
		checkPulledChart(t, o, chart)
	}
}

// checkPulledImage pulls the index of the tag, as a node does, and checks the image and the
// SBOM of each architecture.
func checkPulledImage(t *testing.T, o options) {
	ref, err := name.NewTag(o.image() + ":" + o.version)
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range architectures {
		platform := v1.Platform{OS: "linux", Architecture: arch}
		image, err := remote.Image(ref, keychain, remote.WithPlatform(platform))
		if err != nil {
			t.Fatal(err)
		}
		checkConfig(t, o, image, arch)
		checkProgram(t, o, image, arch)
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		checkReferrer(t, o, ref.Context().Digest(digest.String()), arch)
	}
}

// checkProgram checks the architecture of the program in the image, and runs the program of
// this machine's architecture.
func checkProgram(t *testing.T, o options, image v1.Image, arch string) {
	files := tar.NewReader(mutate.Extract(image))
	header, err := files.Next()
	if err != nil || "/"+header.Name != entrypoint {
		t.Fatalf("got file %v, %v, want %s", header, err, entrypoint)
	}
	program, err := io.ReadAll(files)
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	if file.Machine != machines[arch] {
		t.Errorf("got a program for %s, want %s", file.Machine, machines[arch])
	}
	if _, err := files.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("the image contains a second file (%v)", err)
	}
	if arch != runtime.GOARCH {
		return
	}
	path := filepath.Join(t.TempDir(), "secret-sync")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), o.version) {
		t.Errorf("secret-sync version: got %q, %v, want %s", out, err, o.version)
	}
}

// checkReferrer lists the referrers of an image and pulls the SBOM.
func checkReferrer(t *testing.T, o options, image name.Digest, arch string) {
	index, err := remote.Referrers(image, keychain, remote.WithFilter("artifactType", sbomType))
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil || len(list.Manifests) != 1 {
		t.Fatalf("got the referrers %v, %v, want the SBOM", list, err)
	}
	artifact, err := remote.Image(image.Context().Digest(list.Manifests[0].Digest.String()), keychain)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := artifact.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("got %d files, %v, want 1", len(layers), err)
	}
	content, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile(o.binary(arch) + ".cdx.json"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got an SBOM that differs from the file of the release (%v)", err)
	}
}

// checkPulledChart pulls a chart with Helm and checks its metadata. The chart app must render
// with the image of the release.
func checkPulledChart(t *testing.T, o options, chart string) {
	client, err := helm.NewClient(helm.ClientOptPlainHTTP(), helm.ClientOptWriter(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := client.Pull(o.registry + "/charts/" + chart + ":1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := chartutil.Expand(dir, bytes.NewReader(pulled.Chart.Data)); err != nil {
		t.Fatal(err)
	}
	meta := pulled.Chart.Meta
	for field, wrong := range map[string]bool{
		"home": meta.Home == "", "sources": len(meta.Sources) == 0, "icon": meta.Icon == "",
		"kubeVersion":  meta.KubeVersion == "",
		"the image":    !strings.Contains(meta.Annotations["artifacthub.io/images"], o.image()+":"+o.version),
		"the license":  meta.Annotations["artifacthub.io/license"] == "",
		"appVersion":   meta.AppVersion != o.version,
		"dependencies": len(meta.Dependencies) > 0 && meta.Dependencies[0].Repository != "oci://"+o.registry+"/charts",
	} {
		if wrong {
			t.Errorf("chart %s: %s is missing or wrong in %+v", chart, field, meta)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, chart, "README.md")); err != nil {
		t.Errorf("chart %s: %v", chart, err)
	}
	if chart != "app" {
		return
	}
	manifest, err := helmchart.Template(filepath.Join(dir, chart), "shop", nil)
	if image := o.image() + ":" + o.version; err != nil || !strings.Contains(string(manifest), image) {
		t.Errorf("chart %s: got %v, want a manifest with the image %s\n%s", chart, err, image, manifest)
	}
}
