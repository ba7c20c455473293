package rollout

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestWaitPods_started: a Pod counts from its binding. Only a Pod in which no container has
// started for the grace does not.
func TestWaitPods_started(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	newReplica(t, s, "app", nil)

	pending := newPod(t, s, "pending", "", oneSidecar, func(pod *corev1.Pod) {
		pod.Status.Phase = corev1.PodPending
		pod.Status.InitContainerStatuses = []corev1.ContainerStatus{waitingStatus("secret-sync")}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{waitingStatus("app")}
	})
	startWait(t, s, kubeconfig, "--direct", "--timeout", "1s").exits(1, "before the grace",
		"Pod pending: no container has started yet")
	startWait(t, s, kubeconfig, "--direct", "--start-grace", "1s").exits(0, "all 1 Pods")

	setStatus(t, s, pending, func(pod *corev1.Pod) { // an init container has run
		pod.Status.InitContainerStatuses[0].ContainerID = "containerd://1"
	})
	startWait(t, s, kubeconfig, "--direct", "--start-grace", "0s", "--timeout", "1s").exits(1,
		"Pod pending: its sidecar does not answer")
	remove(t, s, "pending")

	newPod(t, s, "unreported", newAddress(), oneSidecar, func(pod *corev1.Pod) {
		pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses = nil, nil
	})
	startWait(t, s, kubeconfig, "--direct", "--start-grace", "0s", "--timeout", "1s").exits(1,
		"Pod unreported: its sidecar does not answer")
	remove(t, s, "unreported")

	newPod(t, s, "unbound", "", oneSidecar, func(pod *corev1.Pod) { pod.Spec.NodeName = "" })
	newPod(t, s, "succeeded", "", oneSidecar, func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodSucceeded })
	newPod(t, s, "failed", "", oneSidecar, func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodFailed })
	startWait(t, s, kubeconfig, "--direct").exits(0, "all 1 Pods")

	newPod(t, s, "terminating", newAddress(), oneSidecar)
	if err := pods(s).Delete(t.Context(), "terminating", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	startWait(t, s, kubeconfig, "--direct", "--timeout", "1s").exits(1, "Pod terminating: its sidecar does not answer",
		"it is being deleted")
	remove(t, s, "terminating")

	crashed := corev1.ContainerStatus{Name: "app", State: waitingStatus("app").State, RestartCount: 1}
	newPod(t, s, "crashed", newAddress(), oneSidecar, func(pod *corev1.Pod) {
		pod.Status.InitContainerStatuses[0] = waitingStatus("secret-sync")
		pod.Status.ContainerStatuses[0] = crashed
	})
	startWait(t, s, kubeconfig, "--direct", "--start-grace", "0s", "--timeout", "1s").exits(1,
		"Pod crashed: its sidecar does not answer")
}

// TestWaitPods_appNotStarted: before its first start, an app needs the files and no
// notification.
func TestWaitPods_appNotStarted(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	address := newAddress()
	pod := newPod(t, s, "app", address, oneSidecar, func(pod *corev1.Pod) {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{waitingStatus("app")}
	})
	r := startReplica(t, s, pod, address+":29808", st.Env{"SECRETSYNC_WEBHOOK_URL": "http://127.0.0.1:1/"})
	s.SetSecret("db", map[string]string{"password": "1"})
	r.wait(t, "1")
	startWait(t, s, kubeconfig, "--direct", "--timeout", "2s").exits(1, "no container of the app has started yet")
	startWait(t, s, kubeconfig, "--direct", "--start-grace", "1s").exits(0, "all 1 Pods")
	setStatus(t, s, pod,
		func(pod *corev1.Pod) { pod.Status.ContainerStatuses = []corev1.ContainerStatus{running("app")} })
	startWait(t, s, kubeconfig, "--direct", "--start-grace", "1s", "--timeout", "3s").
		exits(1, "webhook is not notified")
}

// TestWaitPods_filesLost: an app has never started. Its files were in place, and somebody empties the volume before
// the grace ends. A sidecar without a connection cannot write the files again, so the Pod is not done. The grace
// begins again when the files are back.
func TestWaitPods_filesLost(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	wire := s.Wire()
	address := newAddress()
	pod := newPod(t, s, "app", address, oneSidecar, func(pod *corev1.Pod) {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{waitingStatus("app")}
	})
	r := startReplica(t, s, pod, address+":29808", st.Env{"SECRETSYNC_WEBHOOK_URL": "http://127.0.0.1:1/"})
	s.SetSecret("db", map[string]string{"password": "1"})
	r.wait(t, "1")
	const grace = 4 * time.Second
	wait := startWait(t, s, kubeconfig, "--direct", "--start-grace", grace.String())
	wait.until("no container of the app has started yet")
	r.run.Kill()
	wire.Cut()
	entries, err := os.ReadDir(r.dir)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(r.dir, entry.Name())))
	}
	if err != nil {
		t.Fatal(err)
	}
	r.run = s.Start(r.env)
	wait.until("the watch of its sidecar is down")
	wait.running(grace + time.Second)
	if err := wire.Mend(); err != nil {
		t.Fatal(err)
	}
	wait.exits(0, "all 1 Pods")
}

// TestWait_users: without a selector every user of the Secret counts, and the output names
// the way in which each uses it.
func TestWait_users(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	startWait(t, s, kubeconfig, "--direct", allUsers, "--timeout", "500ms").exits(1, "no Pod counts")
	newReplica(t, s, "app", nil)
	env := func(name, secret string) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			pod.Labels = nil
			ref := &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret},
				Key: "password"}
			pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: name,
				ValueFrom: &corev1.EnvVarSource{SecretKeyRef: ref}}}
		}
	}
	newPod(t, s, "other", newAddress(), nil, env("PASSWORD", "web"))
	sidecarOf := func(secret string) []corev1.Container {
		return []corev1.Container{{Name: "secret-sync", Image: "secret-sync:1",
			Env: []corev1.EnvVar{{Name: "SECRETSYNC_SECRETS", Value: secret}}}}
	}
	newPod(t, s, "other-sidecar", newAddress(), sidecarOf("tls"))
	startWait(t, s, kubeconfig, "--direct", allUsers).exits(0, "all 1 Pods")

	newPod(t, s, "silent", newAddress(), sidecarOf("tls,db"), func(pod *corev1.Pod) { pod.Labels = nil })
	startWait(t, s, kubeconfig, "--direct", allUsers, "--timeout", "500ms").
		exits(1, "Pod silent: its sidecar does not answer")
	remove(t, s, "silent")

	newPod(t, s, "report-1", newAddress(), nil, env("DB_PASSWORD", "db"))
	newPod(t, s, "volume", newAddress(), nil, func(pod *corev1.Pod) {
		source := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "db"}}
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "creds", VolumeSource: source})
	})
	secret := corev1.LocalObjectReference{Name: "db"}
	mount := func(source corev1.VolumeSource) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "creds", VolumeSource: source})
		}
	}
	newPod(t, s, "projected", newAddress(), nil, mount(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{LocalObjectReference: secret}}},
	}}))
	newPod(t, s, "csi", newAddress(), nil, mount(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
		Driver: "vault.example", NodePublishSecretRef: &secret,
	}}))
	newPod(t, s, "all-keys", newAddress(), nil, func(pod *corev1.Pod) {
		pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{
			LocalObjectReference: secret}}}
	})
	newPod(t, s, "one-shot", newAddress(), nil, func(pod *corev1.Pod) {
		pod.Spec.InitContainers = []corev1.Container{sidecarContainer}
		pod.Status.InitContainerStatuses = []corev1.ContainerStatus{running("secret-sync")}
	})
	startWait(t, s, kubeconfig, "--direct", allUsers).exits(1,
		"Pod report-1: container app reads it into DB_PASSWORD at start",
		"Pod volume: unknown: volume creds contains it",
		"Pod projected: unknown: volume creds contains it",
		"Pod csi: the CSI driver of volume creds reads it",
		"Pod all-keys: container app reads it into variables * at start",
		"Pod one-shot: init container secret-sync writes it to files at start")
	startWait(t, s, kubeconfig, "--direct", allUsers, "--ignore-others").exits(0, "all 1 Pods")
	for _, name := range []string{"report-1", "volume", "projected", "csi", "all-keys", "one-shot"} {
		remove(t, s, name)
	}

	changed := s.Get("db").ManagedFields[0].Time.Time
	testsupport.EventuallyWithin(t, time.Minute, "the clocks of the API servers allow to tell", func() error {
		if time.Since(changed) < 12*time.Second {
			return errTooEarly
		}
		return nil
	})
	newPod(t, s, "report-2", newAddress(), nil, env("DB_PASSWORD", "db"))
	startWait(t, s, kubeconfig, "--direct", allUsers).exits(0, "all 2 Pods")

	// Another client changes the data. Its entry in managedFields is newer than the first entry.
	patch := []byte(`{"data":{"password":"MQ=="}}`)
	if _, err := s.Secrets().Patch(t.Context(), "db", types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: "another"}); err != nil {
		t.Fatal(err)
	}
	startWait(t, s, kubeconfig, "--direct", allUsers).exits(1, "Pod report-2: container app reads it into DB_PASSWORD")
}
