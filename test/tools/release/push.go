package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	helm "helm.sh/helm/v4/pkg/registry"
)

// push pushes a built release and writes a line NAME@DIGEST for each pushed artifact. The
// credentials are the credentials of `docker login`. A second push of the same release
// changes nothing.
//
//	REGISTRY/secret-sync:v1.2.3           the index of the image
//	REGISTRY/secret-sync@DIGEST           the image of each architecture, and its SBOM, as a referrer
//	REGISTRY/charts/secret-sync:1.2.3     the charts
//	REGISTRY/charts/app:1.2.3
func push(ctx context.Context, o options, out io.Writer) error {
	tag, err := name.NewTag(o.image() + ":" + o.version)
	if err != nil {
		return err
	}
	index, err := o.readIndex()
	if err != nil {
		return fmt.Errorf("read the image: %w", err)
	}
	with := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	if err := remote.WriteIndex(tag, index, with...); err != nil {
		return fmt.Errorf("push %s: %w", tag, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintln(out, tag.Context().Digest(digest.String()))
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, subject := range manifest.Manifests {
		fmt.Fprintln(out, tag.Context().Digest(subject.Digest.String()))
		if err := pushSBOM(o, tag.Repository, subject, out, with...); err != nil {
			return fmt.Errorf("push the SBOM for %s: %w", subject.Platform, err)
		}
	}
	return pushCharts(o, tag.Registry, out)
}

// readIndex returns the index of the architectures from the OCI layout.
func (o options) readIndex() (v1.ImageIndex, error) {
	top, err := layout.ImageIndexFromPath(filepath.Join(o.out, "image"))
	if err != nil {
		return nil, err
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		return nil, err
	}
	return top.ImageIndex(manifest.Manifests[0].Digest)
}

// pushSBOM pushes the SBOM of an architecture as a referrer of its image.
func pushSBOM(o options, repo name.Repository, subject v1.Descriptor, out io.Writer, with ...remote.Option) error {
	artifact, err := o.sbomArtifact(subject)
	if err != nil {
		return err
	}
	digest, err := artifact.Digest()
	if err != nil {
		return err
	}
	ref := repo.Digest(digest.String())
	if err := remote.Write(ref, artifact, with...); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, ref)
	return err
}

// pushCharts pushes each chart as Helm does. Helm uses the credentials of `docker login`
// if it has none.
func pushCharts(o options, registry name.Registry, out io.Writer) error {
	with := []helm.ClientOption{helm.ClientOptWriter(io.Discard)}
	if registry.Scheme() == "http" {
		with = append(with, helm.ClientOptPlainHTTP())
	}
	client, err := helm.NewClient(with...)
	if err != nil {
		return err
	}
	for _, chart := range charts {
		archive, err := os.ReadFile(o.chartFile(chart))
		if err != nil {
			return err
		}
		ref := path.Join(o.registry, "charts", chart)
		created := helm.PushOptCreationTime(o.created.Format(time.RFC3339))
		result, err := client.Push(archive, ref+":"+o.chartVersion(), created)
		if err != nil {
			return fmt.Errorf("push chart %s: %w", ref, err)
		}
		fmt.Fprintln(out, ref+"@"+result.Manifest.Digest)
	}
	return nil
}
