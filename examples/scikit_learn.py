"""A network whose widths are searched, as the last step of a scikit-learn pipeline.

    python examples/scikit_learn.py

`fit` searches the width of one hidden layer within 2,000 parameters, and trains the best network.
"""

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from widthwise.integrations.sklearn import WidthSearchClassifier


def pipeline() -> Pipeline:
    return make_pipeline(
        StandardScaler(),
        WidthSearchClassifier(
            limits={"parameters": 2_000},
            trials=4,
            hidden_layers=1,
            max_width=128,
            folds=1,
            epochs=15,
            learning_rate=0.005,
            random_state=0,
        ),
    )


def main() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0, stratify=y)
    model = pipeline().fit(x_train, y_train)
    found = model[-1]
    print(f"widths {found.best_widths_}, {found.report_['verdict']}")
    print(f"test accuracy {model.score(x_test, y_test):.3f}")


if __name__ == "__main__":
    main()
